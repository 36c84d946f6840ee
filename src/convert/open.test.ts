import { describe, expect, test } from "vitest";
import { memorySink } from "../core/byte-sink.ts";
import { type ByteSource, memorySource } from "../core/byte-source.ts";
import { float32Tensor, type LazyTensor, lazyTensor, readTensor } from "../core/tensor.ts";
import { writeNpy } from "../formats/npy/write-npy.ts";
import { modelToBytes } from "../formats/onnx/write-model.ts";
import { writePytorch } from "../formats/pytorch/write-pytorch.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import { openModelFile, stripPrefix } from "./open.ts";

const value = (...numbers: number[]): LazyTensor =>
  lazyTensor(float32Tensor([numbers.length], numbers));

async function checkpointBytes(names: readonly string[]): Promise<Uint8Array> {
  const sink = memorySink();
  await writePytorch(
    names.map((name) => ({ name, tensor: value(1, 2) })),
    sink,
  );
  return sink.bytes();
}

async function errorOf(source: ByteSource): Promise<string> {
  const error: unknown = await openModelFile(source).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof Error ? error.message : "no error";
}

describe("openModelFile", () => {
  test("a checkpoint: names in order, the shared prefix known but kept", async () => {
    const bytes = await checkpointBytes(["module.a.weight", "module.b.weight"]);
    const file = await openModelFile(memorySource("x.pth", bytes), { epsilon: 1e-3 });
    if (file.kind !== "checkpoint") throw new Error("not a checkpoint");
    expect([...file.state.tensors.keys()]).toEqual(["module.a.weight", "module.b.weight"]);
    expect(file).toMatchObject({ format: "pytorch-zip", prefix: "module.", key: "" });
    expect(file.reading.epsilon).toBe(1e-3);
  });

  test("an ONNX model", async () => {
    const builder = createGraphBuilder();
    const x = builder.input("x", "float32", [1, 2]);
    builder.output(builder.node("Relu", [x], {}, "y"), "float32", [1, 2]);
    const bytes = await modelToBytes(builder.build());
    const file = await openModelFile(memorySource("x.onnx", bytes));
    if (file.kind !== "onnx") throw new Error("not a model");
    expect(file.model.graph.nodes.map((node) => node.opType)).toEqual(["Relu"]);
  });

  test("what a file is stands in it, not in its name", async () => {
    const bytes = await checkpointBytes(["a.weight"]);
    expect((await openModelFile(memorySource("x.onnx", bytes))).kind).toBe("checkpoint");
  });

  test("an array is no model, and the message says where it belongs", async () => {
    const bytes = writeNpy(await readTensor(value(1)));
    expect(await errorOf(memorySource("x.npy", bytes))).toBe(
      "x.npy: is an npy array, expected a checkpoint or an ONNX model. Arrays are given with --input or --golden.",
    );
  });

  test("anything else is refused by name", async () => {
    expect(await errorOf(memorySource("x.bin", new Uint8Array(64).fill(7)))).toMatch(/^x\.bin: /);
  });
});

test("stripPrefix takes a prefix off tensors and modules, and drops what has none", () => {
  const record = { className: "C", attributes: {} };
  const state = {
    tensors: new Map([
      ["net.a", value(1)],
      ["epoch", value(2)],
    ]),
    modules: new Map([["net.a", record]]),
  };
  const stripped = stripPrefix(state, "net.");
  expect([...stripped.tensors.keys()]).toEqual(["a"]);
  expect([...stripped.modules.keys()]).toEqual(["a"]);
  expect(stripPrefix(state, "")).toBe(state);
});
