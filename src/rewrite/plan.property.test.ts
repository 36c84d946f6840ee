/**
 * @file The engine against the obvious meaning: random graphs are planned and fused, and both forms are evaluated in
 * float64 at several sizes, borders included. Whatever the planner accepts has to be equal, and never costs more.
 */

import fc from "fast-check";
import { expect, test } from "vitest";
import { dense, evaluateNaive } from "../../test/support/naive-graph.ts";
import { randomBlock, randomNet } from "../../test/support/random-graphs.ts";
import { createRng } from "../core/rng.ts";
import { lazyTensor, readFloat64, tensor } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import { applyPlan } from "./apply.ts";
import { cleanModel } from "./clean.ts";
import { planReparam } from "./plan.ts";

/**
 * Chains here add at most some 10³ products of size ≤ 10, so n·2⁻⁵³·Σ|w·x| stays below 10³ · 1.1e-16 · 10⁴ ≈ 1e-9.
 */
const FLOAT64_BOUND = 1e-9;

const SEED = 20260714;

/** Largest difference of any output, relative to the largest value; infinite when shapes differ. */
async function difference(
  before: Model,
  after: Model,
  sizes: readonly number[],
  seed: number,
): Promise<number> {
  const rng = createRng(seed);
  const channels = before.graph.inputs[0]!.shape![1] as number;
  const x = dense([2, channels, ...sizes], () => rng.uniform(-1, 1));
  const expected = await evaluateNaive(before.graph, new Map([["x", x]]));
  const found = await evaluateNaive(after.graph, new Map([["x", x]]));
  let worst = 0;
  for (const { name } of before.graph.outputs) {
    const [a, b] = [expected.get(name)!, found.get(name)!];
    if (a.shape.join() !== b.shape.join()) return Number.POSITIVE_INFINITY;
    const scale = a.data.reduce((max, value) => Math.max(max, Math.abs(value)), 1);
    for (let i = 0; i < a.data.length; i++) {
      worst = Math.max(worst, Math.abs(a.data[i]! - b.data[i]!) / scale);
    }
  }
  return worst;
}

/** Odd, even and unequal sizes, all above the largest kernel reach of the generator (4 taps, dilated by 2, twice). */
const SIZES: Readonly<Record<number, readonly (readonly number[])[]>> = {
  1: [[15], [16], [23]],
  2: [
    [14, 14],
    [15, 17],
    [20, 16],
  ],
  3: [[15, 14, 16]],
};

test.each([
  [1, 150],
  [2, 200],
  [3, 25],
] as const)(
  "a block over %i spatial axes computes the same after fusing",
  async (rank, numRuns) => {
    let [fused, runs] = [0, 0];
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        const model = randomBlock(seed, rank);
        const plan = await planReparam(model, { allowCostlier: true });
        const applied = applyPlan(model, plan);
        runs++;
        if (applied.modified) fused++;
        for (const sizes of SIZES[rank]!) {
          expect(await difference(model, applied.model, sizes, seed)).toBeLessThan(FLOAT64_BOUND);
        }
      }),
      { numRuns, seed: SEED },
    );
    // The generator is useless if the planner refuses most of what it makes.
    expect(fused).toBeGreaterThan(runs / 2);
  },
);

test("a net of several regions computes the same on every output and never grows", async () => {
  let regions = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(), async (seed) => {
      const model = randomNet(seed);
      const plan = await planReparam(model);
      const after = cleanModel(applyPlan(model, plan).model).model;
      regions += plan.regions.length;
      expect(await difference(model, after, [9, 10], seed)).toBeLessThan(FLOAT64_BOUND);
      expect(after.graph.nodes.length).toBeLessThanOrEqual(model.graph.nodes.length);
      expect(plan.after.parameters).toBeLessThanOrEqual(plan.before.parameters);
      for (const region of plan.regions) {
        expect(region.after.macs).toBeLessThanOrEqual(region.before.macs);
        expect(region.after.parameters).toBeLessThanOrEqual(region.before.parameters);
      }
      // Fused once, nothing is left to fuse.
      expect((await planReparam(after)).regions).toEqual([]);
    }),
    { numRuns: 60, seed: SEED },
  );
  expect(regions).toBeGreaterThan(60);
});

test("blocks never cost more multiply-accumulates in all, with the sizes fixed", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), async (seed) => {
      const model = randomBlock(seed, 2);
      const [input] = model.graph.inputs;
      const shape = [1, input!.shape![1], 17, 16];
      const inputs = [{ ...input!, shape }];
      const fixed: Model = { ...model, graph: { ...model.graph, inputs } };
      const plan = await planReparam(fixed);
      // PadSelf is an operator of our own whose size nobody infers.
      if (plan.before.macs === undefined || plan.after.macs === undefined) return;
      expect(plan.after.macs).toBeLessThanOrEqual(plan.before.macs);
      const after = applyPlan(fixed, plan).model;
      expect(await difference(fixed, after, [17, 16], seed)).toBeLessThan(FLOAT64_BOUND);
    }),
    { numRuns: 150, seed: SEED },
  );
});

test("the comparison notices one changed number", async () => {
  let noticed = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(), async (seed) => {
      const model = randomBlock(seed, 2);
      const applied = applyPlan(model, await planReparam(model, { allowCostlier: true }));
      const region = applied.regions[0];
      if (!region) return;
      const { graph } = applied.model;
      const stored = graph.initializers.get(region.weight)!;
      const values = await readFloat64(stored);
      // Zeros may stand where no input reaches.
      const at = values.findIndex((value) => value !== 0);
      values[at] = values[at]! * 1.001;
      const changed = lazyTensor(tensor("float64", stored.shape, values));
      const initializers = new Map(graph.initializers).set(region.weight, changed);
      const wrong: Model = { ...applied.model, graph: { ...graph, initializers } };
      expect(await difference(model, wrong, [15, 17], seed)).toBeGreaterThan(FLOAT64_BOUND);
      noticed++;
    }),
    { numRuns: 40, seed: SEED },
  );
  expect(noticed).toBeGreaterThan(20);
});
