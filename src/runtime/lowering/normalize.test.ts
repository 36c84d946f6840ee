import { describe, expect, test } from "vitest";
import {
  expectWithin,
  randomDense,
  runLowered,
  seeded,
} from "../../../test/support/float64-runs.ts";
import type { Dense } from "../../../test/support/naive-graph.ts";

const U = 2 ** -53;
const EPSILON = Math.fround(1e-3);

function parameters(
  seed: number,
  channels: number,
): { gamma: Dense; beta: Dense; mean: Dense; variance: Dense } {
  const rng = seeded(seed);
  const vector = (low: number, high: number): Dense => randomDense(rng, [channels], low, high);
  return {
    gamma: vector(-2, 2),
    beta: vector(-1, 1),
    mean: vector(-1, 1),
    variance: vector(0.01, 2),
  };
}

describe("BatchNormalization in float64", () => {
  test.each([[[2, 3, 4, 5]], [[2, 3, 4]], [[2, 3]], [[1, 3, 2, 3, 2]]])("on %j", async (shape) => {
    const x = randomDense(seeded(1), shape);
    const { gamma, beta, mean, variance } = parameters(2, 3);
    const found = await runLowered({
      opType: "BatchNormalization",
      attributes: { epsilon: { float: EPSILON } },
      operands: [x, gamma, beta, mean, variance],
    });
    const inner = shape.slice(2).reduce((a, b) => a * b, 1);
    const data = x.data.map((value, i) => {
      const c = Math.floor(i / inner) % 3;
      // The documented order, so the only freedom left is a fused multiply-add in the last step.
      const s = gamma.data[c]! / Math.sqrt(variance.data[c]! + EPSILON);
      return value * s + (beta.data[c]! - mean.data[c]! * s);
    });
    // Terms are at most 2/√0.01 = 20 in size; the last two roundings differ by at most 2 u of 40.
    expectWithin(found, { shape, data }, 2 * 40 * U);
  });

  test("keeps an epsilon that float32 cannot hold", async () => {
    const one: Dense = { shape: [1], data: Float64Array.of(1) };
    const zero: Dense = { shape: [1], data: Float64Array.of(0) };
    const x: Dense = { shape: [1, 1], data: Float64Array.of(1) };
    const found = await runLowered({
      opType: "BatchNormalization",
      attributes: { epsilon: { float: 1e-5 } },
      operands: [x, one, zero, zero, zero],
    });
    // fround(1e-5) would differ in the 8th digit.
    expect(found.data[0]).toBe(1 / Math.sqrt(1e-5));
  });

  test("training mode is refused by node", async () => {
    const x = randomDense(seeded(1), [2, 3, 2, 2]);
    const { gamma, beta, mean, variance } = parameters(2, 3);
    const attributes = { training_mode: 1 };
    await expect(
      runLowered({
        opType: "BatchNormalization",
        attributes,
        operands: [x, gamma, beta, mean, variance],
      }),
    ).rejects.toMatchObject({ tag: "refused" });
  });
});

describe("normalization over the input in float64", () => {
  /** Normalizes each run of `size` elements; γ and β change every `inner` elements. */
  function normalized(
    x: Dense,
    size: number,
    gamma: Dense,
    beta: Dense,
    inner: number,
  ): Float64Array {
    return x.data.map((value, i) => {
      const group = x.data.slice(Math.floor(i / size) * size, (Math.floor(i / size) + 1) * size);
      const mean = group.reduce((a, b) => a + b, 0) / size;
      const variance = group.reduce((a, b) => a + (b - mean) ** 2, 0) / size;
      const c = Math.floor(i / inner) % gamma.data.length;
      return ((value - mean) / Math.sqrt(variance + EPSILON)) * gamma.data[c]! + beta.data[c]!;
    });
  }
  const attributes = { epsilon: { float: EPSILON } };
  const x = randomDense(seeded(5), [2, 6, 3, 4]);
  // Normal values are at most √n ≤ 9, times |γ| ≤ 2; mean and variance are sums of n ≤ 72 terms: 2 (n + 6) u of 18.
  const bound = 2 * 78 * U * 18;

  test("InstanceNormalization", async () => {
    const { gamma, beta } = parameters(3, 6);
    const found = await runLowered({
      opType: "InstanceNormalization",
      attributes,
      operands: [x, gamma, beta],
    });
    expectWithin(found, { shape: x.shape, data: normalized(x, 12, gamma, beta, 12) }, bound);
  });

  test("GroupNormalization, scale per channel (opset 21)", async () => {
    const { gamma, beta } = parameters(3, 6);
    const found = await runLowered({
      opType: "GroupNormalization",
      opset: 21,
      attributes: { ...attributes, num_groups: 2 },
      operands: [x, gamma, beta],
    });
    expectWithin(found, { shape: x.shape, data: normalized(x, 36, gamma, beta, 12) }, bound);
  });

  test("GroupNormalization, scale per group (opset 18)", async () => {
    const { gamma, beta } = parameters(3, 2);
    const found = await runLowered({
      opType: "GroupNormalization",
      opset: 18,
      attributes: { ...attributes, num_groups: 2 },
      operands: [x, gamma, beta],
    });
    expectWithin(found, { shape: x.shape, data: normalized(x, 36, gamma, beta, 36) }, bound);
  });

  test("LayerNormalization (the runtime's own double kernel)", async () => {
    const gamma = randomDense(seeded(7), [4]);
    const beta = randomDense(seeded(8), [4]);
    const found = await runLowered({
      opType: "LayerNormalization",
      attributes,
      operands: [x, gamma, beta],
    });
    expectWithin(found, { shape: x.shape, data: normalized(x, 4, gamma, beta, 1) }, bound);
  });
});
