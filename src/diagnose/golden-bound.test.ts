import { expect, test } from "vitest";
import { float32Tensor, lazyTensor } from "../core/tensor.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import { longestSum } from "./golden-bound.ts";

const ones = (shape: readonly number[]) =>
  lazyTensor(float32Tensor(shape, Array<number>(shape.reduce((a, b) => a * b, 1)).fill(1)));

test("the longest sum of a graph: a convolution, a pool over the map, a matrix", async () => {
  const g = createGraphBuilder();
  const x = g.input("x", "float32", ["N", 2, "H", "W"]);
  const w = g.initializer("w", ones([4, 2, 3, 3]));
  const conv = g.node("Conv", [x, w], { kernel_shape: [3, 3] }, "conv");
  const pooled = g.node("GlobalAveragePool", [conv], {}, "pool");
  const flat = g.node("Flatten", [pooled], {}, "flat");
  const m = g.initializer("m", ones([4, 3]));
  g.output(g.node("MatMul", [flat, m], {}, "head"), "float32", undefined);
  const model = g.build();
  const at = (size: number) => longestSum(model, new Map([["x", [1, 2, size, size]]]));
  expect(await at(5)).toBe(19); // 2·3·3 products and a bias; the pool has 3·3
  expect(await at(8)).toBe(36); // the pool's 6·6
});
