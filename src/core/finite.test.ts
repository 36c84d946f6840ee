import { expect, test } from "vitest";
import { bytesOf, encodeFloat64, type FloatDType } from "./dtype.ts";
import { firstNonFinite } from "./finite.ts";

const DTYPES: FloatDType[] = ["float64", "float32", "float16", "bfloat16"];

test.each(DTYPES)("finds the first NaN or infinity of %s", (dtype) => {
  const of = (...values: number[]): number =>
    firstNonFinite(encodeFloat64(Float64Array.from(values), dtype), dtype);
  expect(of(1, -2, 0)).toBe(-1);
  expect(of(1, Number.NaN, Number.NaN)).toBe(1);
  expect(of(1, 2, Number.NEGATIVE_INFINITY)).toBe(2);
});

test("reads bytes at any alignment and ignores integers", () => {
  const bytes = new Uint8Array(13);
  bytes.set(bytesOf(Float32Array.of(1, Number.NaN, 3)), 1);
  expect(firstNonFinite(bytes.subarray(1), "float32")).toBe(1);
  expect(firstNonFinite(bytesOf(Int32Array.of(0x7f800000)), "int32")).toBe(-1);
});
