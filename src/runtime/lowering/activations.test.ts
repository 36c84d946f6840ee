import { describe, expect, test } from "vitest";
import { expectWithin, runLowered } from "../../../test/support/float64-runs.ts";
import type { Dense } from "../../../test/support/naive-graph.ts";
import type { AttributeInputs } from "../../ir/builder.ts";
import { erf } from "./erf.ts";

const U = 2 ** -53;
const f32 = Math.fround;

/** Both signs, from tiny to large, with the places where formulas change. */
const POINTS: Dense = (() => {
  const values = [
    0, 1e-300, 1e-20, 1e-9, 1e-3, 0.0625, 0.1, 0.25, 0.5, 1, 1.5, 2, 2.999, 3, 3.7, 5, 5.97, 6,
    6.01, 12, 30,
  ];
  for (let i = 0; i < 200; i++) values.push(i * 0.0411);
  const data = Float64Array.from([...values, ...values.map((v) => -v)]);
  return { shape: [data.length], data };
})();

const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const clamp01 = (x: number): number => Math.min(1, Math.max(0, x));
const signedErf = (x: number): number => Math.sign(x) * (Math.abs(x) >= 6 ? 1 : erf(Math.abs(x)));
const elu = (x: number, alpha: number): number => (x > 0 ? x : alpha * Math.expm1(x));

interface Case {
  readonly op: string;
  readonly attributes?: AttributeInputs;
  readonly opset?: number;
  readonly f: (x: number) => number;
  /** Relative error in units of u: roundings of the emitted formula, its functions counted with 4 each, and of `f`. */
  readonly units: number;
  /** Absolute error where the function itself cancels (its value is a difference of larger terms). */
  readonly absolute?: number;
}

const CASES: readonly Case[] = [
  { op: "Relu", f: (x) => Math.max(x, 0), units: 0 },
  {
    op: "LeakyRelu",
    attributes: { alpha: { float: 0.1 } },
    f: (x) => (x < 0 ? 0.1 * x : x),
    units: 1,
  },
  { op: "LeakyRelu", f: (x) => (x < 0 ? f32(0.01) * x : x), units: 1 },
  { op: "Elu", attributes: { alpha: { float: 0.7 } }, f: (x) => elu(x, 0.7), units: 16 },
  {
    op: "Celu",
    attributes: { alpha: { float: 2 } },
    f: (x) => (x > 0 ? x : 2 * Math.expm1(x / 2)),
    units: 16,
  },
  { op: "Selu", f: (x) => f32(1.0507009873554805) * elu(x, f32(1.6732632423543772)), units: 16 },
  {
    op: "ThresholdedRelu",
    attributes: { alpha: { float: 1.5 } },
    f: (x) => (x > 1.5 ? x : 0),
    units: 0,
  },
  { op: "HardSigmoid", f: (x) => clamp01(f32(0.2) * x + 0.5), units: 2, absolute: 2 * U },
  { op: "HardSwish", f: (x) => x * clamp01(x / 6 + 0.5), units: 4, absolute: 8 * U },
  { op: "Softplus", f: softplus, units: 16 },
  { op: "Softsign", f: (x) => x / (1 + Math.abs(x)), units: 4 },
  { op: "Mish", opset: 18, f: (x) => x * Math.tanh(softplus(x)), units: 24 },
  { op: "Erf", f: signedErf, units: 16 },
  {
    op: "Gelu",
    opset: 20,
    f: (x) => 0.5 * x * (1 + signedErf(x * Math.SQRT1_2)),
    units: 24,
    absolute: 6 * 16 * U,
  },
  {
    op: "Gelu",
    opset: 20,
    attributes: { approximate: "tanh" },
    f: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
    units: 24,
    // 1 + tanh cancels for negative x: 16 u of tanh's 1, times |x|/2 up to 15.
    absolute: 15 * 16 * U,
  },
  // The runtime's own double kernels.
  { op: "Sigmoid", f: (x) => 1 / (1 + Math.exp(-x)), units: 16 },
  { op: "Tanh", f: Math.tanh, units: 16 },
  { op: "Exp", f: Math.exp, units: 16 },
];

describe("activations in float64", () => {
  test.each(CASES)(
    "$op $attributes",
    async ({ op, attributes = {}, opset = 17, f, units, absolute = 0 }) => {
      const expected = { shape: POINTS.shape, data: POINTS.data.map(f) };
      const found = await runLowered({ opType: op, attributes, opset, operands: [POINTS] });
      // 2^-1074: one step of a subnormal result.
      const bound = expected.data.map((y) => units * U * Math.abs(y) + absolute + 2 ** -1074);
      expectWithin(found, expected, bound);
    },
  );

  test("PRelu has a slope per channel", async () => {
    const x: Dense = { shape: [1, 2, 2], data: Float64Array.of(-1, 2, -3, 4) };
    const slope: Dense = { shape: [2, 1], data: Float64Array.of(0.5, 0.25) };
    const found = await runLowered({ opType: "PRelu", operands: [x, slope] });
    expect([...found.data]).toEqual([-0.5, 2, -0.75, 4]);
  });

  test("Mean divides by the number of inputs", async () => {
    const x: Dense = { shape: [2], data: Float64Array.of(1, 2) };
    const y: Dense = { shape: [2], data: Float64Array.of(4, 8) };
    const found = await runLowered({ opType: "Mean", operands: [x, y] });
    expect([...found.data]).toEqual([2.5, 5]);
  });

  test.each(["Erf", "Softplus", "Elu", "Mish"])("%s at infinity and NaN", async (op) => {
    const x: Dense = { shape: [3], data: Float64Array.of(Infinity, -Infinity, Number.NaN) };
    const found = await runLowered({ opType: op, opset: 18, operands: [x] });
    const limits: Record<string, number[]> = {
      Erf: [1, -1, Number.NaN],
      Softplus: [Infinity, 0, Number.NaN],
      Elu: [Infinity, -1, Number.NaN],
      // −∞ · 0 has no limit in IEEE arithmetic; onnxruntime's float32 kernel says NaN as well.
      Mish: [Infinity, Number.NaN, Number.NaN],
    };
    expect([...found.data]).toEqual(limits[op]);
  });
});

describe("erf", () => {
  // DLMF table 7.23 / Abramowitz–Stegun 7.1, 16 digits.
  test.each([
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [3, 0.9999779095030014],
  ])("of %d", (x, expected) => {
    expect(Math.abs(erf(x) - expected)).toBeLessThan(4 * U);
  });
});
