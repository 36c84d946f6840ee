/**
 * @file Insertion on random nets. In float64, where storage rounds by 2⁻⁵³, the inserted net and the net fused back
 * equal the original at every position, borders included; in float32 the kernels are what certificate A asks for.
 */

import fc from "fast-check";
import { expect, test } from "vitest";
import { dense, evaluateNaive } from "../../../test/support/naive-graph.ts";
import { pick, randomConvNet } from "../../../test/support/random-conv-net.ts";
import { createRng } from "../../core/rng.ts";
import { isOp, type Model } from "../../ir/graph.ts";
import { validateModel } from "../../ir/validate.ts";
import { applyPlan } from "../apply.ts";
import { planReparam } from "../plan.ts";
import { applyInsertion } from "./apply-insertion.ts";
import { BLOCK_KINDS } from "./blocks.ts";
import { calibrateInsertion } from "./calibrate.ts";
import { planInsertion } from "./plan-insertion.ts";

/**
 * Three layers of some 10² products of size ≤ 10 each, summed from branches: errors of 10²·2⁻⁵³ grow by the layers'
 * gains (≤ 10² together, relative to the largest output): 1e-10.
 */
const FLOAT64_BOUND = 1e-10;

const SIZES = [
  [0, 0],
  [1, 2],
  [5, 3],
] as const;

async function expectSameFunction(
  original: Model,
  other: Model,
  { inC, minSize, seed }: { inC: number; minSize: number; seed: number },
): Promise<void> {
  const output = original.graph.outputs[0]!.name;
  for (const [moreH, moreW] of SIZES) {
    const rng = createRng(seed + moreH);
    const x = dense([2, inC, minSize + moreH, minSize + moreW], () => rng.uniform(-1, 1));
    const expected = (await evaluateNaive(original.graph, new Map([["x", x]]))).get(output)!;
    const found = (await evaluateNaive(other.graph, new Map([["x", x]]))).get(output)!;
    expect(found.shape).toEqual(expected.shape);
    const largest = expected.data.reduce((a, b) => Math.max(a, Math.abs(b)), 1);
    for (const [i, value] of expected.data.entries()) {
      if (!(Math.abs(found.data[i]! - value) <= FLOAT64_BOUND * largest)) {
        throw new Error(`at ${i}: ${found.data[i]} instead of ${value}`);
      }
    }
  }
}

const convs = (model: Model): number =>
  model.graph.nodes.filter((node) => isOp(node, "Conv")).length;

test("insert keeps the function, and insert then fuse gives the net back, borders included", async () => {
  const seen = { nets: 0, blocks: 0, leftAlone: 0, leftOut: 0, crops: 0 };
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 - 1 }), async (seed) => {
      const net = randomConvNet(seed, "float64");
      const { model } = net;
      const rng = createRng(seed + 1);
      const block = pick(rng, BLOCK_KINDS);
      const planned = await planInsertion(model, { block, seed, branches: 2, share: 0.3 });
      const plan =
        rng.next() < 0.5
          ? planned
          : await calibrateInsertion(model, planned, async (inserted, values) => {
              // Not the real statistics: any will do for the function to stay.
              const channels = new Map(
                inserted.graph.nodes
                  .filter((node) => isOp(node, "BatchNormalization"))
                  .map((node) => [
                    node.inputs[0]!,
                    inserted.graph.initializers.get(node.inputs[1]!)!.shape[0]!,
                  ]),
              );
              return new Map(
                values.map(({ name: value }) => {
                  const n = channels.get(value)!;
                  const mean = Float64Array.from({ length: n }, () => rng.normal());
                  const variance = Float64Array.from({ length: n }, () => rng.uniform(0, 3));
                  return [value, { mean, variance }];
                }),
              );
            });
      const inserted = applyInsertion(model, plan);
      validateModel(inserted.model);
      seen.nets++;
      seen.blocks += plan.insertions.length;
      seen.leftAlone += plan.leftAlone.length;
      seen.leftOut += plan.insertions.reduce((sum, one) => sum + one.leftOut.length, 0);
      seen.crops += inserted.model.graph.nodes.filter((node) => isOp(node, "Slice")).length;
      await expectSameFunction(model, inserted.model, { ...net, seed });
      const fused = applyPlan(inserted.model, await planReparam(inserted.model));
      await expectSameFunction(model, fused.model, { ...net, seed });
      // Every block is one convolution again.
      expect(convs(fused.model)).toBeLessThanOrEqual(convs(model));
    }),
    { numRuns: 150 },
  );
  // The property is worth nothing where little is inserted, or only easy cases are.
  expect(seen.blocks).toBeGreaterThan(seen.nets);
  expect(seen.leftOut).toBeGreaterThan(10);
  expect(seen.crops).toBeGreaterThan(10);
});
