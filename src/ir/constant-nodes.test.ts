/** @file Every way in which a `Constant` node writes its value. */

import { describe, expect, test } from "vitest";
import { float32Tensor, lazyTensor, readFloat64 } from "../core/tensor.ts";
import { constantTensor, storedTensors } from "./constant-nodes.ts";
import type { Attribute, Graph, Node } from "./graph.ts";

function constant(name: string, attribute: Attribute, opType = "Constant"): Node {
  const attributes = new Map([[name, attribute]]);
  return { opType, domain: "", name: "", inputs: [], outputs: ["c"], attributes };
}

describe("constantTensor", () => {
  const stored = lazyTensor(float32Tensor([2], [1, 2]));
  const cases: [string, Attribute, readonly number[], readonly number[]][] = [
    ["value", { type: "tensor", value: stored }, [2], [1, 2]],
    ["value_float", { type: "float", value: 0.5 }, [], [0.5]],
    ["value_floats", { type: "floats", value: [0.5, 2] }, [2], [0.5, 2]],
    ["value_int", { type: "int", value: -3 }, [], [-3]],
    ["value_ints", { type: "ints", value: [] }, [0], []],
  ];

  test.each(cases)("%s", async (name, attribute, shape, values) => {
    const tensor = constantTensor(constant(name, attribute))!;
    expect(tensor.shape).toEqual(shape);
    expect([...(await readFloat64(tensor))]).toEqual(values);
    expect(tensor.dtype).toBe(attribute.type.startsWith("int") ? "int64" : "float32");
  });

  test("text, attributes of other names and other operators are none", () => {
    expect(
      constantTensor(constant("value_string", { type: "string", value: "a" })),
    ).toBeUndefined();
    expect(constantTensor(constant("alpha", { type: "float", value: 1 }))).toBeUndefined();
    const other = constant("value", { type: "tensor", value: stored }, "ConstantOfShape");
    expect(constantTensor(other)).toBeUndefined();
  });
});

test("storedTensors: initializers and constants by name", () => {
  const graph: Graph = {
    name: "g",
    nodes: [constant("value_float", { type: "float", value: 1 })],
    initializers: new Map([["w", lazyTensor(float32Tensor([1], [2]))]]),
    inputs: [],
    outputs: [],
    valueInfos: new Map(),
  };
  expect([...storedTensors(graph).keys()]).toEqual(["w", "c"]);
});
