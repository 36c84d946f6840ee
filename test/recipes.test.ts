/**
 * @file The worked examples of docs/recipes.md: each recipe on the page, on a block written down as what it computes, and
 * the second one on a published checkpoint in place of its built-in row.
 */

import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { emission, emittedRows } from "../src/algebra/emit.ts";
import { memorySource } from "../src/core/byte-source.ts";
import { readFloat64, type StateDict } from "../src/core/tensor.ts";
import { chooseStateDict, readCheckpoint } from "../src/formats/checkpoint.ts";
import { interpretRegion } from "../src/rewrite/interpret.ts";
import { compileBlock } from "../src/zoo/compile-block.ts";
import type { FamilyRow } from "../src/zoo/family.ts";
import { parseRecipe } from "../src/zoo/recipe.ts";
import { type BlockMatch, recognize } from "../src/zoo/recognize.ts";
import { dataFolder } from "./data-folder.ts";
import {
  add,
  convolve,
  createWeights,
  type Image,
  mapChannels,
  padWith,
  randomImage,
  type Weights,
} from "./support/forward.ts";

const page = readFileSync(new URL("../docs/recipes.md", import.meta.url), "utf8");
const RECIPES = [...page.matchAll(/```json\n(.*?)```/gs)].map((found) =>
  parseRecipe("docs/recipes.md", found[1] ?? ""),
);

async function fuse(match: BlockMatch, state: StateDict) {
  const block = compileBlock(match, state);
  const affine = await interpretRegion(block.graph, "x", "y", match.prefix);
  const made = emission(affine);
  const { values } = await emittedRows(affine, made, 0, made.outC, false);
  return { made, weight: values, bias: (await affine.biases()).values };
}

const FORWARD: Readonly<Record<string, (w: Weights, x: Image) => Image>> = {
  "gated-block": (w, x) => {
    const gate = w.tensor("gate", [1])[0]!;
    const side = w.bn(w.conv(x, "side", { out: 4, kernel: 1 }), "bn_side");
    return add(
      w.bn(w.conv(x, "main", { out: 4 }), "bn_main"),
      mapChannels(side, (value) => value * gate),
      w.bn(x, "bn_skip"),
    );
  },
  "expand-reduce": (w, x) => {
    const chain = (number: string) => {
      const wide = w.conv(x, `expand${number}_conv`, { out: 6, kernel: 1, bias: true });
      const own = w.tensor(`expand${number}_conv.bias`, [6]);
      const padded = padWith(wide, 1, (c) => own[c]!);
      const convolved = w.conv(padded, `fea${number}_conv`, { out: 6, padding: 0, bias: true });
      return w.conv(convolved, `reduce${number}_conv`, { out: 4, kernel: 1, bias: true });
    };
    return add(
      chain(""),
      chain("1"),
      w.conv(x, "res_conv3x3", { out: 4, bias: true }),
      w.conv(x, "res_conv1x1", { out: 4, kernel: 1, bias: true }),
      x,
    );
  },
  "central-difference": (w, x) => {
    const branch = (n: number) => {
      const plain = w.conv(x, `branches.${n}.conv`, { out: 3 });
      const weight = w.tensor(`branches.${n}.conv.weight`, [3, 4, 3, 3]);
      const sums = new Float64Array(3 * 4);
      for (const [i, value] of weight.entries()) sums[Math.floor(i / 9)]! += value;
      const theta = w.tensor(`branches.${n}.theta`, [1])[0]!;
      const centre = convolve(x, sums, undefined, { out: 3, kernel: 1 });
      return add(
        plain,
        mapChannels(centre, (value) => -theta * value),
      );
    };
    return w.bn(add(branch(0), branch(1)), "norm");
  },
};

test("the page has the examples tested here", () => {
  expect(RECIPES.map((recipe) => recipe.name).sort()).toEqual(Object.keys(FORWARD).sort());
});

test.each(RECIPES.map((recipe) => [recipe.name, recipe] as const))("%s", async (name, recipe) => {
  const w = createWeights(41, "net.block", recipe.epsilon);
  const x = randomImage(42, 4, 4, 5);
  const y = FORWARD[name]!(w, x);
  const { matches, unmatched } = recognize(w.state, { recipes: [recipe], family: name });
  expect(unmatched).toEqual([]);
  expect(matches).toHaveLength(1);
  const { made, weight, bias } = await fuse(matches[0]!, w.state);
  const fused = convolve(x, weight, bias, { out: made.outC, kernel: 3, groups: made.group });
  const worst = Math.max(...y.data.map((value, i) => Math.abs(value - fused.data[i]!)));
  // Fewer than 10^4 float64 operations on numbers below 100 stand behind an output.
  expect(worst).toBeLessThanOrEqual(1e4 * 2 ** -53 * 100);
});

const rvsr = join(dataFolder() ?? "", "real/huai-chang+RVSR");
const hasRvsr = dataFolder() !== undefined && existsSync(rvsr);
if (!hasRvsr) console.log("recipes: RVSR not run, no data folder (REPARAM_DATA)");

test.runIf(hasRvsr)("the published RVSR checkpoint, by the recipe alone", async () => {
  const load = async (file: string, key?: string): Promise<StateDict> => {
    const source = memorySource(basename(file), readFileSync(join(rvsr, file)));
    return chooseStateDict(await readCheckpoint(source), key).state;
  };
  const train = await load("pretrained.ckpt", "state_dict");
  const deploy = await load("RVSR_rep.pth");
  const recipe: FamilyRow = RECIPES.find((candidate) => candidate.name === "expand-reduce")!;
  const { matches } = recognize(train, { recipes: [recipe], family: recipe.name });
  expect(matches).toHaveLength(9);
  for (const match of matches) {
    const { weight, bias } = await fuse(match, train);
    for (const [key, made] of [
      [match.deployKeys.weight, weight],
      [match.deployKeys.bias, bias],
    ] as const) {
      const theirs = await readFloat64(deploy.tensors.get(key.replace(/^network\./, ""))!);
      const worst = Math.max(...made.map((value, i) => Math.abs(value - theirs[i]!)));
      // The authors fuse in float32; measured 8.2e-7 on weights of size 1.
      expect(worst).toBeLessThanOrEqual(1e-6);
    }
  }
});
