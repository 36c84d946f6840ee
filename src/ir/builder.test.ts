import { expect, test } from "vitest";
import { float32Tensor, lazyTensor } from "../core/tensor.ts";
import { createGraphBuilder } from "./builder.ts";

test("builds a graph whose attributes have ONNX's types", () => {
  const g = createGraphBuilder({ opset: 13, name: "small" });
  const x = g.input("x", "float32", ["batch", 1, 4, 4]);
  const w = g.initializer("w", lazyTensor(float32Tensor([1, 1, 1, 1], [2])));
  const conv = g.node("Conv", [x, w], { strides: [1, 1], group: 1, auto_pad: "VALID" });
  const y = g.node("LeakyRelu", [conv], { alpha: { float: 1 } }, "y");
  g.output(y, "float32", ["batch", 1, 4, 4]);
  const model = g.build();
  expect(model.opsets.get("")).toBe(13);
  expect(model.irVersion).toBe(7);
  expect(model.graph.nodes.map((node) => [node.opType, ...node.inputs, ...node.outputs])).toEqual([
    ["Conv", "x", "w", "Conv_0"],
    ["LeakyRelu", "Conv_0", "y"],
  ]);
  expect([...model.graph.nodes[0]!.attributes]).toEqual([
    ["strides", { type: "ints", value: [1, 1] }],
    ["group", { type: "int", value: 1 }],
    ["auto_pad", { type: "string", value: "VALID" }],
  ]);
  expect(model.graph.nodes[1]!.attributes.get("alpha")).toEqual({ type: "float", value: 1 });
});

test("taken names become unique", () => {
  const g = createGraphBuilder();
  expect(g.input("x", "float32", undefined)).toBe("x");
  expect(g.node("Relu", ["x"], {}, "x")).toBe("x_1");
  expect(g.nodeWithOutputs("Split", ["x"], 2, {}, "s")).toEqual(["s", "s_1"]);
});

test("a bare non-integer is a usage error that says what to write", () => {
  const g = createGraphBuilder();
  expect(() => g.node("LeakyRelu", ["x"], { alpha: 0.1 })).toThrow(
    "LeakyRelu.alpha: attribute value 0.1 is not an integer. Write floats as { float: value }",
  );
});
