import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  expectWithin,
  type OneOp,
  randomDense,
  runFloat32,
  runLowered,
  seeded,
} from "../../../test/support/float64-runs.ts";
import { naiveAveragePool } from "../../../test/support/naive-windows.ts";

const U = 2 ** -53;

describe("AveragePool in float64", () => {
  test("is the mean over the positions that count", async () => {
    const list = (min: number, max: number, length: number): fc.Arbitrary<number[]> =>
      fc.array(fc.integer({ min, max }), { minLength: length, maxLength: length });
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          rank: fc.integer({ min: 1, max: 3 }),
          kernel: list(1, 4, 3),
          strides: list(1, 3, 3),
          extra: list(0, 4, 3),
          pads: list(0, 2, 6),
          include: fc.boolean(),
          ceil: fc.boolean(),
          dilate: fc.boolean(),
          seed: fc.nat(),
        }),
        async (g) => {
          const rng = seeded(g.seed);
          const kernel = g.kernel.slice(0, g.rank);
          const strides = g.strides.slice(0, g.rank);
          const dilations = kernel.map(() => (g.dilate ? 2 : 1));
          // ONNX wants every window to meet the input: padding below the kernel.
          const pads = [...g.pads.slice(0, g.rank), ...g.pads.slice(3, 3 + g.rank)].map((p, i) =>
            Math.min(p, kernel[i % g.rank]! - 1),
          );
          const reach = kernel.map((k, i) => dilations[i]! * (k - 1) + 1);
          const spatial = reach.map((r, i) => r + g.extra[i]!);
          const output = spatial.map((n, i) => {
            const steps = (n + pads[i]! + pads[i + g.rank]! - reach[i]!) / strides[i]!;
            if (!g.ceil) return Math.floor(steps) + 1;
            const count = Math.ceil(steps) + 1;
            return (count - 1) * strides[i]! >= n + pads[i]! ? count - 1 : count;
          });
          const x = randomDense(rng, [2, 2, ...spatial]);
          const windows = { strides, dilations, pads };
          const expected = naiveAveragePool(x, kernel, windows, output, g.include);
          const found = await runLowered({
            opType: "AveragePool",
            opset: g.dilate ? 19 : 17,
            attributes: {
              kernel_shape: kernel,
              strides,
              pads,
              ...(g.dilate ? { dilations } : {}),
              ceil_mode: g.ceil ? 1 : 0,
              count_include_pad: g.include ? 1 : 0,
            },
            operands: [x],
          });
          // Two sums of n terms and one division each: (n + 1) u each side.
          expectWithin(
            found,
            expected,
            expected.magnitude.map((m) => 2 * (expected.terms + 1) * U * m),
          );
        },
      ),
      { numRuns: 60, seed: 20261123 },
    );
  });

  test.each([11, 17, 19])("agrees with onnxruntime's float32 kernel at opset %d", async (opset) => {
    const x = randomDense(seeded(1), [1, 2, 7, 6], 0.5, 1.5);
    for (const include of [0, 1]) {
      const op: OneOp = {
        opType: "AveragePool",
        opset,
        attributes: {
          kernel_shape: [3, 2],
          strides: [2, 2],
          pads: [1, 0, 1, 1],
          count_include_pad: include,
        },
        operands: [x],
      };
      // 6 positive terms in float32 and a division: 7 · 2^-24 of at most 1.5.
      expectWithin(await runLowered(op), await runFloat32(op), 7 * 2 ** -24 * 1.5);
    }
  });
});

describe("global pools in float64", () => {
  const x = randomDense(seeded(2), [2, 3, 4, 5]);
  const planes = Array.from({ length: 6 }, (_, i) => x.data.slice(i * 20, i * 20 + 20));

  test("GlobalAveragePool is the mean of each plane", async () => {
    const data = Float64Array.from(planes, (plane) => plane.reduce((a, b) => a + b, 0) / 20);
    const found = await runLowered({ opType: "GlobalAveragePool", operands: [x] });
    // 20 terms of at most 1, added and divided twice.
    expectWithin(found, { shape: [2, 3, 1, 1], data }, 2 * 21 * U);
  });

  test.each([17, 18])("GlobalMaxPool is the largest of each plane (opset %d)", async (opset) => {
    const data = Float64Array.from(planes, (plane) => Math.max(...plane));
    const found = await runLowered({ opType: "GlobalMaxPool", opset, operands: [x] });
    expect([...found.data]).toEqual([...data]);
  });
});
