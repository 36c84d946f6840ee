import { describe, expect, test } from "vitest";
import { float32Tensor, type LazyTensor, lazyTensor, readFloat64 } from "../core/tensor.ts";
import { evaluateExpression, rowsByGroup } from "./evaluate-expression.ts";
import type { Expression } from "./family.ts";
import { MAX_EXPRESSION_ELEMENTS, MAX_KERNEL } from "./limits.ts";

function tensors(entries: Record<string, readonly [number[], number[]]>): Map<string, LazyTensor> {
  return new Map(
    Object.entries(entries).map(([key, [shape, values]]) => [
      key,
      lazyTensor(float32Tensor(shape, values)),
    ]),
  );
}

async function evaluate(expression: Expression, named: Map<string, LazyTensor>) {
  const value = evaluateExpression(expression, named);
  return { shape: value.shape, values: [...(await readFloat64(value))] };
}

describe("evaluateExpression", () => {
  test("a plain key is the checkpoint's own tensor", () => {
    const named = tensors({ w: [[2], [1, 2]] });
    expect(evaluateExpression("w", named)).toBe(named.get("w"));
  });

  test("multiplies with broadcasting from the last axis", async () => {
    const named = tensors({
      a: [
        [2, 1, 1],
        [2, 3],
      ],
      b: [
        [1, 2],
        [5, 7],
      ],
    });
    expect(await evaluate({ multiply: ["a", "b"] }, named)).toEqual({
      shape: [2, 1, 2],
      values: [10, 14, 15, 21], // 2·5, 2·7, 3·5, 3·7
    });
  });

  test("adds in float64: 1 + 2^-24 is not rounded to float32", async () => {
    const named = tensors({ a: [[1], [1]], b: [[1], [2 ** -24]] });
    expect((await evaluate({ add: ["a", "b"] }, named)).values).toEqual([1 + 2 ** -24]);
  });

  test("identityLike wraps around the channels of a group", async () => {
    const named = tensors({
      w: [
        [4, 2, 1, 1],
        [0, 0, 0, 0, 0, 0, 0, 0],
      ],
    });
    // Rows 0 1 | 0 1: one row per filter, 1 at column c mod 2.
    expect((await evaluate({ identityLike: "w" }, named)).values).toEqual([1, 0, 0, 1, 1, 0, 0, 1]);
  });

  test("row, unsqueeze, values", async () => {
    const named = tensors({
      m: [
        [2, 3],
        [1, 2, 3, 4, 5, 6],
      ],
    });
    expect(await evaluate({ row: "m", index: 1 }, named)).toEqual({
      shape: [3],
      values: [4, 5, 6],
    });
    expect((await evaluate({ unsqueeze: "m", axis: 1 }, named)).shape).toEqual([2, 1, 3]);
    expect(await evaluate({ values: [1, 2], shape: [2] }, named)).toEqual({
      shape: [2],
      values: [1, 2],
    });
  });

  test("tapSum adds a filter's taps", async () => {
    const named = tensors({
      w: [
        [2, 1, 1, 3],
        [1, 2, 3, 4, 5, 6],
      ],
    });
    expect(await evaluate({ tapSum: "w" }, named)).toEqual({
      shape: [2, 1, 1, 1],
      values: [6, 15],
    });
  });

  test("taps makes new taps of the old ones", async () => {
    const named = tensors({
      w: [
        [1, 1, 1, 2],
        [3, 5],
      ],
    });
    const expression: Expression = {
      taps: "w",
      matrix: [
        [1, 0],
        [0, 0],
        [1, -1],
      ],
      kernel: [1, 3],
    };
    expect(await evaluate(expression, named)).toEqual({ shape: [1, 1, 1, 3], values: [3, 0, -2] });
  });

  test("transpose swaps channels within groups and turns the taps around", async () => {
    // [in 2, out/group 1, 1, 2], two groups.
    const named = tensors({
      w: [
        [2, 1, 1, 2],
        [1, 2, 3, 4],
      ],
    });
    expect(await evaluate({ transpose: "w", group: 2 }, named)).toEqual({
      shape: [2, 1, 1, 2],
      values: [2, 1, 4, 3],
    });
    expect(await evaluate({ transpose: "w" }, named)).toEqual({
      shape: [1, 2, 1, 2],
      values: [2, 1, 4, 3],
    });
  });

  test("reads a part of what it computes", async () => {
    const named = tensors({ a: [[4], [1, 2, 3, 4]] });
    const value = evaluateExpression({ add: ["a", 10] }, named);
    expect([...new Float64Array((await value.read(1, 3)).slice().buffer)]).toEqual([12, 13]);
  });

  test.each<[string, Expression]>([
    ["no tensor of that name", "missing"],
    ["shapes that do not broadcast", { add: ["a", "b"] }],
    ["a row outside the matrix", { row: "a", index: 0 }],
    ["no terms", { add: [] }],
    ["a matrix of the wrong size", { taps: "w", matrix: [[1]], kernel: [1, 1] }],
    ["values that do not fill their shape", { values: [1], shape: [2] }],
    ["groups that do not divide", { transpose: "w", group: 3 }],
    ["something that is no kernel", { identityLike: "a" }],
  ])("refuses %s", (_, expression) => {
    const named = tensors({
      a: [[2], [1, 2]],
      b: [[3], [1, 2, 3]],
      w: [
        [2, 1, 1, 2],
        [1, 2, 3, 4],
      ],
    });
    expect(() => evaluateExpression(expression, named)).toThrow();
  });

  test("limits: elements of a product, taps of a kernel", () => {
    const huge = (shape: number[]): LazyTensor => ({
      dtype: "float32",
      shape,
      read: () => Promise.reject(new Error("must not be read")),
    });
    const side = Math.ceil(Math.sqrt(MAX_EXPRESSION_ELEMENTS)) + 1;
    const named = new Map([
      ["a", huge([side, 1])],
      ["b", huge([1, side])],
      ["k", huge([1, 1, MAX_KERNEL + 1, 1])],
    ]);
    expect(() => evaluateExpression({ multiply: ["a", "b"] }, named)).toThrow("at most");
    expect(() => evaluateExpression({ identityLike: "k" }, named)).toThrow("taps per axis");
  });
});

test("rowsByGroup sorts interleaved rows", async () => {
  // Rows 0..3 of 2 groups are channels g0o0, g1o0, g0o1, g1o1.
  const weight = lazyTensor(float32Tensor([4, 1], [10, 20, 11, 21]));
  expect([...(await readFloat64(rowsByGroup(weight, 2)))]).toEqual([10, 11, 20, 21]);
});
