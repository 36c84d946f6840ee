import { expect, test } from "vitest";
import { float32Tensor, lazyTensor } from "../core/tensor.ts";
import { createGraphBuilder, type GraphBuilder } from "./builder.ts";
import { commonName, describeBranches } from "./describe-branches.ts";

function weight(g: GraphBuilder, name: string, shape: readonly number[]): string {
  const count = shape.reduce((a, b) => a * b, 1);
  return g.initializer(name, lazyTensor(float32Tensor(shape, new Float32Array(count))));
}

function build(make: (g: GraphBuilder, x: string) => string): string[] {
  const g = createGraphBuilder({ name: "block" });
  const x = g.input("x", "float32", [1, 8, 4, 4]);
  const y = make(g, x);
  g.output(y, "float32", undefined);
  return describeBranches(g.build().graph, "x", y);
}

const bn = (g: GraphBuilder, x: string, name: string): string =>
  g.node("BatchNormalization", [x, ...[1, 2, 3, 4].map((i) => weight(g, `${name}.${i}`, [8]))]);

test("the branches of a RepVGG block, in the order of the sum, the last Identity left out", () => {
  const words = build((g, x) => {
    const dense = bn(g, g.node("Conv", [x, weight(g, "d", [8, 8, 3, 3])]), "bd");
    const point = bn(g, g.node("Conv", [x, weight(g, "p", [8, 8, 1, 1])]), "bp");
    const sum = g.node("Add", [g.node("Add", [dense, point]), bn(g, x, "bi")]);
    return g.node("Identity", [sum]);
  });
  expect(words).toEqual(["3×3+bn", "1×1+bn", "bn"]);
});

test("groups, depthwise and dilation are said; a bare identity is one", () => {
  const words = build((g, x) => {
    const grouped = g.node("Conv", [x, weight(g, "g", [8, 2, 3, 3])], { group: 4 });
    const depthwise = g.node("Conv", [x, weight(g, "w", [8, 1, 5, 5])], {
      group: 8,
      dilations: [2, 2],
    });
    return g.node("Add", [g.node("Add", [grouped, depthwise]), x]);
  });
  expect(words).toEqual(["3×3 in 4 groups", "5×5 dilated 2×2 depthwise", "identity"]);
});

test("a chain after a sum keeps the sum in parentheses", () => {
  const words = build((g, x) => {
    const sum = g.node("Add", [g.node("Conv", [x, weight(g, "a", [8, 8, 1, 1])]), x]);
    return bn(g, sum, "post");
  });
  expect(words).toEqual(["(1×1 ∥ identity)+bn"]);
});

test("names: what the convolutions share, else what their kernels share", () => {
  const node = (name: string, kernel: string) => ({
    opType: "Conv",
    domain: "",
    name,
    inputs: ["x", kernel],
    outputs: ["y"],
    attributes: new Map(),
  });
  expect(commonName([node("/s1/s1.0/dense/Conv", "a"), node("/s1/s1.0/point/Conv", "b")])).toBe(
    "s1.s1.0",
  );
  expect(commonName([node("", "s1.0.dense.weight"), node("", "s1.0.point.weight")])).toBe("s1.0");
  expect(commonName([node("", "231"), node("", "232")])).toBe("");
});
