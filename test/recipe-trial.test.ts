/**
 * @file A recipe written from docs/recipes.md alone, for the published RT4KSR model without its built-in row: expand
 * by 1×1, 3×3 with a skip around it, reduce by 1×1, and the input added. Judged by the block's formula in plain loops.
 */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openModelFile } from "../src/convert/open.ts";
import { planCheckpoint } from "../src/convert/plan-checkpoint.ts";
import { memorySource } from "../src/core/byte-source.ts";
import { readFloat64, type StateDict } from "../src/core/tensor.ts";
import { parseRecipe } from "../src/zoo/recipe.ts";
import { dataFolder } from "./data-folder.ts";
import { add, convolve, type Image, padWith, randomImage } from "./support/forward.ts";

const RECIPE = `{
  "name": "expand-skip-reduce",
  "epsilon": 0.00001,
  "blocks": [
    {
      "kind": "Block",
      "anchor": "fea_conv.weight",
      "graph": {
        "sum": [
          {
            "sequence": [
              { "conv": "expand_conv" },
              {
                "sum": [
                  { "sequence": [{ "pad": 1, "with": "self" }, { "conv": "fea_conv", "padding": 0 }] },
                  { "identity": true }
                ]
              },
              { "conv": "reduce_conv" }
            ]
          },
          { "identity": true }
        ]
      },
      "deploy": { "weight": "rep_conv.weight", "bias": "rep_conv.bias" }
    }
  ]
}`;

const path = join(dataFolder() ?? "", "real/eduardzamfir+RT4KSR/rt4ksr_x2.pth");
const hasModel = dataFolder() !== undefined && existsSync(path);
if (!hasModel) console.log("recipe trial: RT4KSR not run, no data folder (REPARAM_DATA)");

/** What the block computes, from the checkpoint's tensors. */
async function forward(state: StateDict, prefix: string, x: Image): Promise<Image> {
  const read = async (key: string) => await readFloat64(state.tensors.get(`${prefix}.${key}`)!);
  const conv = async (input: Image, key: string, kernel: number): Promise<Image> => {
    const bias = await read(`${key}.bias`);
    const options = { out: bias.length, kernel, padding: 0 };
    return convolve(input, await read(`${key}.weight`), bias, options);
  };
  const wide = await conv(x, "expand_conv", 1);
  const border = await read("expand_conv.bias");
  const inner = add(
    await conv(
      padWith(wide, 1, (c) => border[c]!),
      "fea_conv",
      3,
    ),
    wide,
  );
  return add(await conv(inner, "reduce_conv", 1), x);
}

test.runIf(hasModel)("the published RT4KSR checkpoint, by a recipe of its own", async () => {
  const recipe = parseRecipe("trial.json", RECIPE);
  const file = await openModelFile(memorySource("rt4ksr_x2.pth", readFileSync(path)), {
    recipes: [recipe],
    // Nothing but the recipe is considered: the built-in row is out.
    family: recipe.name,
  });
  if (file.kind !== "checkpoint") throw new Error("expected a checkpoint");
  const { blocks, notes } = await planCheckpoint(file);
  expect(blocks.map(({ match }) => match.prefix.replace(/^module\./, ""))).toEqual([
    "hfb.0",
    "body.0.conv1",
    "body.1.conv1",
    "body.2.conv1",
    "body.3.conv1",
    "tail.1",
  ]);
  expect(notes).toEqual([]);
  const x = randomImage(7, 24, 5, 6);
  for (const { match, kernel } of blocks) {
    const truth = await forward(file.state, match.prefix, x);
    const [weight, bias] = await Promise.all([kernel.weight, kernel.bias].map(readFloat64));
    const fused = convolve(x, weight!, bias, { out: 24 });
    const worst = Math.max(...truth.data.map((value, i) => Math.abs(value - fused.data[i]!)));
    // 24 · 9 fused float32 weights below 2 and one bias, each off by half a last digit, times |x| ≤ 1.
    expect(worst, match.prefix).toBeLessThanOrEqual((24 * 9 + 1) * 2 * 2 ** -24);
  }
});
