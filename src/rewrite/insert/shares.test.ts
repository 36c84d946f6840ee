import { expect, test } from "vitest";
import { parameter } from "../../algebra/parameter.ts";
import { decodeFloat64 } from "../../core/dtype.ts";
import { createRng } from "../../core/rng.ts";
import { readFloat64 } from "../../core/tensor.ts";
import { blockFor } from "./blocks.ts";
import type { ConvStep } from "./branch.ts";
import { diagonalShares, floorShares, type ShareOptions, shareTensor } from "./shares.ts";
import { type Target, targetVectors } from "./target.ts";

const rng = createRng(2);
const axis = { kernel: 3, stride: 1, dilation: 1, beginPad: 1, endPad: 1 };

/** `[4, 2, 3, 3]` in two groups, with a batch norm of negative scale on channel 1. */
function target(group = 2): Target {
  const inC = 4;
  const weights = Array.from({ length: (4 * inC * 9) / group }, () => Math.fround(rng.normal()));
  const ones = parameter("bn", [1, 1, 1, 1]);
  return {
    name: "t",
    geometry: { outC: 4, inC, group, axes: [axis, axis] },
    weight: parameter("w", weights),
    bias: undefined,
    batchNorm: {
      ...{ gamma: parameter("gamma", [1, -1, 2, 0]), beta: ones, mean: ones, variance: ones },
      epsilon: 0,
    },
    dtype: "float32",
  };
}

function options(over: Target): ShareOptions {
  return { target: over, vectors: () => targetVectors(over), seed: 3, share: 0.25 };
}

test("a share has its weight's sign and at most a quarter of its size; ranges are parts of the whole", async () => {
  const here = target();
  const block = blockFor("repvgg", here.geometry);
  const pointwise = block.branches.find((branch) => branch.kind === "pointwise")!;
  const step = pointwise.steps[0] as ConvStep;
  const tensor = shareTensor(step, pointwise.window, options(here));
  expect(tensor.shape).toEqual([4, 2, 1, 1]);
  const shares = await readFloat64(tensor);
  const weights = await here.weight.read(0, here.weight.length);
  const gamma = [1, -1, 2, 0];
  for (const [i, share] of shares.entries()) {
    // Tap (1, 1) is the fifth of nine.
    const w = weights[i * 9 + 4]! * gamma[Math.floor(i / 2)]!;
    expect(Math.abs(share)).toBeLessThanOrEqual(0.25 * Math.abs(w));
    expect(share * w).toBeGreaterThanOrEqual(0);
    // Exact: what is left has no more digits than the weight.
    expect(Math.fround(w - share)).toBe(w - share);
  }
  expect(shares.filter((share) => share !== 0).length).toBeGreaterThan(4);
  for (const [start, end] of [
    [0, 3],
    [3, 8],
    [5, 5],
  ] as const) {
    const part = decodeFloat64(await tensor.read(start, end), "float32");
    expect([...part]).toEqual([...shares.subarray(start, end)]);
  }
});

test("an identity branch takes from the middle tap between a channel and itself", async () => {
  const here = target();
  const { branches } = blockFor("repvgg", here.geometry);
  const identity = branches.find((branch) => branch.kind === "identity")!;
  const shares = await diagonalShares("rbr_identity", identity.window, options(here));
  const weights = await here.weight.read(0, here.weight.length);
  for (const o of [0, 1, 2, 3]) {
    // Two input channels per group: channel o is number o mod 2 of its group.
    const w = weights[(o * 2 + (o % 2)) * 9 + 4]! * [1, -1, 2, 0][o]!;
    expect(Math.abs(shares[o]!)).toBeLessThanOrEqual(0.25 * Math.abs(w));
    expect(shares[o]! * w).toBeGreaterThanOrEqual(0);
  }
});

test("an average takes no more from any tap than a quarter of the smallest", async () => {
  const here = target(4);
  const shares = await floorShares("dbb_avg.avgbn", options(here));
  const weights = await here.weight.read(0, here.weight.length);
  for (const o of [0, 1, 2, 3]) {
    const taps = weights.slice(o * 9, o * 9 + 9).map((w) => Math.abs(w * [1, -1, 2, 0][o]!));
    expect(Math.abs(shares[o]!) / 9).toBeLessThanOrEqual(0.25 * Math.min(...taps));
  }
  expect(shares[0]).not.toBe(0);
});
