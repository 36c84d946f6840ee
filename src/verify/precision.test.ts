import { describe, expect, test } from "vitest";
import { createRng } from "../core/rng.ts";
import { float32Tensor, lazyTensor } from "../core/tensor.ts";
import { type Kernel, storedKernel } from "./kernel.ts";
import { findLowerPrecision, loweredStep, onGrid } from "./precision.ts";

function kernel(rows: number, values: readonly number[], bias?: readonly number[]): Kernel {
  return storedKernel(
    "k.weight",
    lazyTensor(float32Tensor([rows, values.length / rows], values)),
    "k.bias",
    lazyTensor(float32Tensor([rows], bias ?? Array<number>(rows).fill(0))),
  );
}

describe("onGrid", () => {
  test.each([
    // 11, 8 and 11 significant bits; float16 ends at 65504 and 2⁻²⁴.
    ["float16", 1 + 2 ** -10, true],
    ["float16", 1 + 2 ** -11, false],
    ["float16", 65504, true],
    ["float16", 65536, false],
    ["float16", 2 ** -24, true],
    ["float16", 2 ** -25, false],
    ["bfloat16", 1 + 2 ** -7, true],
    ["bfloat16", 1 + 2 ** -8, false],
    ["bfloat16", 2 ** -133, true],
    ["bfloat16", 2 ** 100, true],
    ["tfloat32", 1 + 2 ** -10, true],
    ["tfloat32", 1 + 2 ** -11, false],
    ["tfloat32", 2 ** 100, true],
  ] as const)("%s: %d %s", (format, value, expected) => {
    expect(onGrid(value, format)).toBe(expected);
  });
});

test("the allowed step is half a gap, and a whole one where hardware truncates", () => {
  expect(loweredStep(1, "float16")).toBe(2 ** -11 + 2 ** -25);
  expect(loweredStep(-2, "bfloat16")).toBe(2 ** -7 + 2 ** -134);
  expect(loweredStep(1, "tfloat32")).toBe(2 ** -10);
  expect(loweredStep(0, "float16")).toBe(2 ** -25); // half the smallest subnormal
});

describe("findLowerPrecision", () => {
  const values = Array.from({ length: 64 }, (_, i) => Math.fround(Math.sin(i + 1)));
  const quantize = (step: number): number[] =>
    values.map((value) => Math.fround(Math.round(value / step) * step));

  test("int8: every filter on 8-bit many multiples of a step", async () => {
    const step = Math.fround(1 / 127);
    expect(await findLowerPrecision(kernel(4, values), kernel(4, quantize(step)))).toMatchObject({
      format: "int8",
    });
  });

  test("a number off the grid is no int8", async () => {
    const wrong = quantize(Math.fround(1 / 127));
    wrong[5] = Math.fround(wrong[5]! * 1.001);
    expect(await findLowerPrecision(kernel(4, values), kernel(4, wrong))).toBeUndefined();
  });

  test("a number on the grid but not the nearest is no int8", async () => {
    const step = Math.fround(1 / 127);
    const wrong = quantize(step);
    wrong[5] = Math.fround(wrong[5]! + 2 * step);
    expect(await findLowerPrecision(kernel(4, values), kernel(4, wrong))).toBeUndefined();
  });

  test("filters of one number each are on a grid by nature: no evidence", async () => {
    const changed = values.map((value) => Math.fround(value * 1.001));
    expect(await findLowerPrecision(kernel(64, values), kernel(64, changed))).toBeUndefined();
  });

  test("random numbers are on no grid", async () => {
    const rng = createRng(3);
    const random = values.map((value) => Math.fround(value * (1 + 1e-3 * rng.normal())));
    expect(await findLowerPrecision(kernel(8, values), kernel(8, random))).toBeUndefined();
  });

  test("on the grid, but not the exact numbers rounded to it", async () => {
    const half = values.map((value) => Math.round(value * 64) / 128);
    expect(half.every((value) => onGrid(value, "float16"))).toBe(true);
    expect(await findLowerPrecision(kernel(8, values), kernel(8, half))).toBeUndefined();
  });
});
