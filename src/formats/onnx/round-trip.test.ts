/** @file What is read is written back: everything a file may hold, known to us or not. */

import { expect, test } from "vitest";
import {
  attribute,
  bytes,
  float,
  int,
  message,
  modelBytes,
  modelWith,
  node,
  type Part,
  packed,
  sub,
  tensor,
  text,
} from "../../../test/onnx-messages.ts";
import { memorySource } from "../../core/byte-source.ts";
import { float32Tensor, int64Tensor, lazyTensor } from "../../core/tensor.ts";
import { createGraphBuilder } from "../../ir/builder.ts";
import type { Attribute, Model } from "../../ir/graph.ts";
import { readModel } from "./read-model.ts";
import { modelToBytes } from "./write-model.ts";

const read = (data: Uint8Array): Promise<Model> => readModel(memorySource("test.onnx", data));

/** The model read from what we write of the model read from `data`. */
async function rewritten(data: Uint8Array): Promise<Model> {
  return read(await modelToBytes(await read(data)));
}

test("a model of ours comes back equal, and the same model gives the same bytes", async () => {
  const body = createGraphBuilder({ name: "body" });
  body.output(body.node("Neg", ["a"], {}, "n"), "float32", ["k", undefined]);
  const g = createGraphBuilder({
    opset: 18,
    domains: new Map([["custom", 3]]),
    metadata: new Map([["author", "me"]]),
  });
  const a = g.input("a", "float32", ["batch", 3, undefined]);
  const w = g.initializer("w", lazyTensor(float32Tensor([2, 2], [1, 2, 3, Number.NaN])));
  const empty = g.initializer("empty", lazyTensor(float32Tensor([0, 4], [])));
  const values: Record<string, Attribute> = {
    f: { type: "float", value: 0 },
    huge: { type: "float", value: Number.POSITIVE_INFINITY },
    i: { type: "int", value: -7 },
    s: { type: "string", value: "\ufeffé" },
    none: { type: "ints", value: [] },
    is: { type: "ints", value: [0, -1, 2 ** 53 - 1] },
    fs: { type: "floats", value: [0.5, -0.25] },
    ss: { type: "strings", value: ["", "x"] },
    doc: { type: "int", value: 1, docString: "why" },
  };
  const y = g.node(
    "Everything",
    [a, "", w, empty],
    { ...values, body: body.buildGraph() },
    "y",
    "custom",
  );
  g.node("Constant", [], { value: lazyTensor(int64Tensor([], [42])) }, "c");
  g.valueInfo("c", "int64", []);
  g.output(y, "float32", undefined);
  const model = g.build();
  const once = await modelToBytes(model);
  const again = await read(once);
  expect(Buffer.compare(once, await modelToBytes(again))).toBe(0);
  expect(again.graph.nodes[0]!.attributes.get("body")).toMatchObject({
    value: { name: "body", outputs: [{ name: "n", dtype: "float32", shape: ["k", undefined] }] },
  });
  expect([...again.graph.nodes[0]!.attributes].filter(([name]) => name !== "body")).toEqual(
    Object.entries(values),
  );
  const constant = again.graph.nodes[1]!.attributes.get("value");
  expect(constant?.type === "tensor" && [...(await constant.value.read())]).toEqual([
    42, 0, 0, 0, 0, 0, 0, 0,
  ]);
  for (const name of ["w", "empty"]) {
    expect(await again.graph.initializers.get(name)!.read()).toEqual(
      await model.graph.initializers.get(name)!.read(),
    );
  }
  const { nodes: _n, initializers: _i, ...graph } = again.graph;
  const { nodes: _m, initializers: _j, ...expected } = model.graph;
  expect(graph).toEqual(expected);
  expect({ ...again, graph: undefined }).toEqual({ ...model, graph: undefined });
});

test("fields that we do not know are written back at every level", async () => {
  const raw = (field: number): Uint8Array => message(sub(field, text(1, `kept ${field}`)));
  const model = await rewritten(
    modelWith(
      [sub(20, text(1, "kept 20")), sub(25, text(1, "kept 25")), text(4, "domain"), int(5, 9)],
      [
        node("Relu", ["x"], ["y"], sub(9, text(1, "kept 9")), text(6, "doc")),
        text(2, "g"),
        text(10, "graph doc"),
        sub(11, text(1, "x"), text(3, "value doc")),
        sub(12, text(1, "y")),
        sub(14, text(1, "kept 14")),
        sub(16, text(1, "kept 16")),
      ],
    ),
  );
  expect(model.extra).toEqual([raw(20), raw(25), message(text(4, "domain")), message(int(5, 9))]);
  expect(model.graph.extra).toEqual([raw(14), raw(16)]);
  expect(model.graph.docString).toBe("graph doc");
  expect(model.graph.nodes[0]!.extra).toEqual([raw(9)]);
  expect(model.graph.nodes[0]!.docString).toBe("doc");
  expect(model.graph.inputs[0]!.extra).toEqual([message(text(3, "value doc"))]);
});

const ATTRIBUTES: readonly (readonly [string, Part])[] = [
  ["an integer beyond 2^53", attribute("a", 2, int(3, 2n ** 63n - 1n))],
  ["integers beyond 2^53", attribute("a", 7, int(8, 1), int(8, 2n ** 60n))],
  ["a string that is no text", attribute("a", 3, bytes(4, [0xff, 0xfe]))],
  ["a type", attribute("a", 13, sub(14, sub(1, int(1, 1))))],
  ["a list of tensors", attribute("a", 9, sub(10, int(2, 1)))],
  ["a string tensor", attribute("a", 4, sub(5, int(2, 8), bytes(6, [65])))],
  ["a reference to a function's attribute", attribute("a", 1, text(21, "outer"))],
  ["an unknown type", attribute("a", 99)],
];

test.each(ATTRIBUTES)("an attribute that holds %s keeps the file's bytes", async (_, part) => {
  const wanted = message(part);
  const model = await rewritten(
    modelBytes(node("Relu", ["x"], ["y"], part), sub(11, text(1, "x"))),
  );
  const kept = model.graph.nodes[0]!.attributes.get("a");
  expect(kept?.type).toBe("raw");
  // `wanted` is the field with its tag and length in front.
  expect(kept?.type === "raw" && Buffer.from(wanted).subarray(2)).toEqual(
    Buffer.from((kept as { value: Uint8Array }).value),
  );
});

test("attributes without a type, as the first IR versions wrote them, are told by their field", async () => {
  const model = await read(
    modelBytes(
      node(
        "Relu",
        ["x"],
        ["y"],
        sub(5, text(1, "a"), float(2, 1.5)),
        sub(5, text(1, "b"), packed(8, [1, 2])),
      ),
      sub(11, text(1, "x")),
    ),
  );
  expect([...model.graph.nodes[0]!.attributes]).toEqual([
    ["a", { type: "float", value: 1.5 }],
    ["b", { type: "ints", value: [1, 2] }],
  ]);
});

test("types that are no plain tensor keep the file's bytes", async () => {
  const sequence = [sub(4, sub(1, sub(1, int(1, 1))))];
  const denoted = [sub(1, int(1, 1), sub(2, sub(1, int(1, 3), text(3, "CHANNEL"))))];
  const model = await rewritten(
    modelBytes(
      sub(11, text(1, "s"), sub(2, ...sequence)),
      sub(11, text(1, "d"), sub(2, ...denoted)),
    ),
  );
  expect(model.graph.inputs).toEqual([
    { name: "s", dtype: undefined, shape: undefined, rawType: message(...sequence) },
    { name: "d", dtype: undefined, shape: undefined, rawType: message(...denoted) },
  ]);
});

test("initializers of types we cannot read are kept, and count as defined", async () => {
  const strings = tensor("s", [2], 8, bytes(6, [65]), bytes(6, [66]));
  const int4 = tensor("q", [4], 22, bytes(9, [0x21, 0x43]));
  const sparse = sub(
    15,
    sub(1, int(1, 1), int(2, 1), text(8, "p"), float(4, 2)),
    sub(2, int(2, 7)),
    int(3, 9),
  );
  const model = await rewritten(
    modelBytes(node("Custom", ["s", "q", "p"], ["y"]), strings, int4, sparse),
  );
  expect(model.graph.initializers.size).toBe(0);
  expect(model.graph.opaqueInitializers).toEqual([
    { name: "s", bytes: message(strings) },
    { name: "q", bytes: message(int4) },
    { name: "p", bytes: message(sparse) },
  ]);
});

test("a tensor's doc string is kept, in an attribute its name as well", async () => {
  const model = await rewritten(
    modelBytes(
      tensor("t", [1], 1, bytes(9, [0, 0, 0, 0]), text(12, "weights")),
      node(
        "Constant",
        [],
        ["c"],
        attribute("value", 4, sub(5, int(2, 9), text(8, "odd"), bytes(9, [1]))),
      ),
    ),
  );
  expect(model.graph.initializers.get("t")).toMatchObject({
    extra: [message(text(12, "weights"))],
  });
  expect(model.graph.nodes[0]!.attributes.get("value")).toMatchObject({
    value: { wireName: "odd" },
  });
});

test("an IR 3 model whose initializers are no longer all inputs is written as IR 4", async () => {
  const g = createGraphBuilder({ opset: 8, irVersion: 3 });
  g.initializer("w", lazyTensor(float32Tensor([1], [1])));
  expect((await read(await modelToBytes(g.build()))).irVersion).toBe(4);
});
