import { describe, expect, test } from "vitest";
import { float32Tensor, int64Tensor, lazyTensor, type Tensor, tensor } from "../core/tensor.ts";
import { loadNodeRuntime } from "../host/ort-node.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import type { Model } from "../ir/graph.ts";
import { runWithTaps, tapValues } from "./tap.ts";

/** y = relu(x + 1) */
function addRelu(): Model {
  const g = createGraphBuilder();
  const x = g.input("x", "float32", [2]);
  const one = g.initializer("one", lazyTensor(float32Tensor([1], [1])));
  const sum = g.node("Add", [x, one], {}, "sum");
  g.output(g.node("Relu", [sum], {}, "y"), "float32", [2]);
  return g.build();
}

const floats = ({ bytes }: Tensor): number[] => [...new Float32Array(bytes.slice().buffer)];

describe("a session", () => {
  test("runs tensors of ours", async () => {
    const session = await (await loadNodeRuntime()).createSession(addRelu());
    expect([session.inputNames, session.outputNames]).toEqual([["x"], ["y"]]);
    const y = (await session.run(new Map([["x", float32Tensor([2], [1, -3])]]))).get("y")!;
    expect([y.dtype, y.shape, floats(y)]).toEqual(["float32", [2], [2, 0]]);
    await session.release();
    await session.release();
  });

  test("takes a tensor whose bytes stand at an odd offset", async () => {
    const session = await (await loadNodeRuntime()).createSession(addRelu());
    const bytes = new Uint8Array(9);
    bytes.set(new Uint8Array(Float32Array.of(1, 2).buffer), 1);
    const x: Tensor = { dtype: "float32", shape: [2], bytes: bytes.subarray(1) };
    expect(floats((await session.run(new Map([["x", x]]))).get("y")!)).toEqual([2, 3]);
    await session.release();
  });

  test.each(["float64", "int64", "uint8", "bool", "float16", "int32"] as const)(
    "hands %s through",
    async (dtype) => {
      const g = createGraphBuilder();
      const x = g.input("x", dtype, [2]);
      g.output(g.node("Identity", [x], {}, "y"), dtype, [2]);
      const session = await (await loadNodeRuntime()).createSession(g.build());
      const width = { float64: 8, int64: 8, uint8: 1, bool: 1, float16: 2, int32: 4 }[dtype];
      const bytes = Uint8Array.from({ length: 2 * width }, (_, i) => i % 2);
      const y = (await session.run(new Map([["x", { dtype, shape: [2], bytes }]]))).get("y")!;
      expect([y.dtype, [...y.bytes]]).toEqual([dtype, [...bytes]]);
      await session.release();
    },
  );

  test("names a missing and an unknown input", async () => {
    const session = await (await loadNodeRuntime()).createSession(addRelu());
    await expect(session.run(new Map())).rejects.toThrow('input "x": no value was given');
    const x = float32Tensor([2], [1, 2]);
    const both = new Map([
      ["x", x],
      ["z", x],
    ]);
    await expect(session.run(both)).rejects.toThrow('input "z": no such input, the model has "x"');
    await session.release();
  });

  test("says what the runtime said when the type is wrong, the bytes are no model, or the run is stopped", async () => {
    const runtime = await loadNodeRuntime();
    const session = await runtime.createSession(addRelu());
    const wrong = new Map([["x", int64Tensor([2], [1, 2])]]);
    await expect(session.run(wrong)).rejects.toMatchObject({ tag: "refused", where: runtime.name });
    const bfloat: Tensor = { dtype: "bfloat16", shape: [2], bytes: new Uint8Array(4) };
    await expect(session.run(new Map([["x", bfloat]]))).rejects.toMatchObject({ tag: "usage" });
    const signal = AbortSignal.abort();
    await expect(session.run(wrong, { signal })).rejects.toMatchObject({ tag: "aborted" });
    await expect(runtime.createSession(Uint8Array.of(1, 2, 3))).rejects.toMatchObject({
      tag: "refused",
    });
    await session.release();
  });

  test("has the runtime's name and version", async () => {
    expect((await loadNodeRuntime()).name).toMatch(/^onnxruntime-node \d+\.\d+\.\d+$/);
  });
});

describe("taps", () => {
  const inputs = new Map([["x", float32Tensor([2], [1, -3])]]);

  test("return inner values beside the outputs, each once", async () => {
    const runtime = await loadNodeRuntime();
    const values = await runWithTaps(addRelu(), runtime, ["sum", "y", "sum"], inputs);
    expect([...values.keys()]).toEqual(["y", "sum"]);
    expect(floats(values.get("sum")!)).toEqual([2, -2]);
    expect(floats(values.get("y")!)).toEqual([2, 0]);
  });

  test.each(["nowhere", "", "x", "one"])("%j is no value that a node makes", (name) => {
    expect(() => tapValues(addRelu(), [name])).toThrow(/no node of the model makes it/);
  });

  test("leave the model as it was", () => {
    const model = addRelu();
    tapValues(model, ["sum"]);
    expect(model.graph.outputs).toHaveLength(1);
  });
});

test("a tensor made of the wrong number of bytes is refused before it reaches the runtime", () => {
  expect(() => tensor("float32", [3], Float32Array.of(1))).toThrow(
    /4 bytes for float32 \[3\], expected 12/,
  );
});
