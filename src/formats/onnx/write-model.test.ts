/** @file Streaming, external data, limits and lazy reading of large models, without large memory. */

import { expect, test } from "vitest";
import { memorySink } from "../../core/byte-sink.ts";
import { type ByteSource, memorySource } from "../../core/byte-source.ts";
import type { LazyTensor } from "../../core/tensor.ts";
import { float32Tensor, lazyTensor } from "../../core/tensor.ts";
import { createGraphBuilder } from "../../ir/builder.ts";
import type { Model } from "../../ir/graph.ts";
import { readModel } from "./read-model.ts";
import { modelToBytes, writeModel } from "./write-model.ts";

/** A float32 tensor that is made when read: element i is i mod 251. Records its largest read. */
function made(count: number, reads: number[] = []): LazyTensor {
  return {
    dtype: "float32",
    shape: [count],
    read: async (start = 0, end = count) => {
      reads.push(end - start);
      const values = Float32Array.from({ length: end - start }, (_, i) => (start + i) % 251);
      return new Uint8Array(values.buffer);
    },
  };
}

function modelOf(...tensors: LazyTensor[]): Model {
  const g = createGraphBuilder();
  let y = g.input("x", "float32", undefined);
  tensors.forEach((value, i) => {
    y = g.node("Add", [y, g.initializer(`w${i}`, value)]);
  });
  g.output(y, "float32", undefined);
  return g.build();
}

test("tensors go through in pieces of at most 2 MiB", async () => {
  const reads: number[] = [];
  const piece = 2 ** 19;
  const count = 3 * piece + 5; // 6 MiB and 20 bytes of float32: three full pieces and a rest
  const progress: number[] = [];
  const sink = memorySink();
  await writeModel(modelOf(made(count, reads)), sink, {
    onProgress: ({ done, total }) => progress.push(done / total),
  });
  expect(reads).toEqual([piece, piece, piece, 5]);
  expect(progress.at(-1)).toBe(1);
  const again = await readModel(memorySource("m.onnx", sink.bytes()));
  const copy = await again.graph.initializers.get("w0")!.read(piece - 1, piece + 1);
  expect(Buffer.compare(copy, await made(count).read(piece - 1, piece + 1))).toBe(0);
});

test("writing can be stopped", async () => {
  const controller = new AbortController();
  const writing = writeModel(modelOf(made(2 ** 22)), memorySink(), {
    signal: controller.signal,
    onProgress: () => controller.abort(),
  });
  await expect(writing).rejects.toMatchObject({ tag: "aborted" });
});

test.each([2 ** 29, 2 ** 31])(
  "a model beyond 2 GiB (%i floats) is refused before a byte is written",
  async (count) => {
    const sink = memorySink();
    await expect(writeModel(modelOf(made(count)), sink)).rejects.toMatchObject({
      tag: "refused",
      message: expect.stringContaining("Write the weights to a second file") as unknown,
    });
    expect(sink.bytes().byteLength).toBe(0);
  },
);

test("a tensor that gives fewer bytes than its shape is a bug that is found", async () => {
  const short: LazyTensor = { dtype: "float32", shape: [4], read: async () => new Uint8Array(4) };
  await expect(modelToBytes(modelOf(short))).rejects.toMatchObject({ tag: "internal" });
});

test("external data stands at aligned places, small tensors stay inside", async () => {
  const small = lazyTensor(float32Tensor([2], [1, 2]));
  const model = modelOf(made(300), small, made(500), made(2 ** 18));
  const [sink, data] = [memorySink(), memorySink()];
  await writeModel(model, sink, { external: { location: "m.data", sink: data } });
  expect(sink.bytes().byteLength).toBeLessThan(1000);
  // 1200 bytes, then at the next multiple of 64 (1216) 2000 bytes, then 1 MiB at the next page (4096).
  expect(data.bytes().byteLength).toBe(4096 + 2 ** 20);
  const again = await readModel(memorySource("m.onnx", sink.bytes()), {
    external: { open: async (location) => memorySource(location, data.bytes()) },
  });
  for (const [name, tensor] of model.graph.initializers) {
    const copy = await again.graph.initializers.get(name)!.read();
    expect(Buffer.compare(copy, await tensor.read()), name).toBe(0);
  }
});

test("an external location outside the folder is refused", async () => {
  const external = { location: "../m.data", sink: memorySink() };
  await expect(writeModel(modelOf(made(1)), memorySink(), { external })).rejects.toMatchObject({
    tag: "usage",
  });
});

test("reading a model's structure passes over the weights", async () => {
  const count = 100_000; // 400 kB each
  const bytes = await modelToBytes(modelOf(...Array.from({ length: 50 }, () => made(count))));
  const file = memorySource("m.onnx", bytes);
  let read = 0;
  const counted: ByteSource = {
    ...file,
    slice: (start, end) => {
      read += end - start;
      return file.slice(start, end);
    },
  };
  const model = await readModel(counted);
  // Nodes and names here are below 8 kB; each tensor's header costs one window of 1 KiB after the jump to it.
  const structure = bytes.byteLength - 50 * count * 4;
  expect(structure).toBeLessThan(8_000);
  expect(read).toBeLessThan(8 * structure + 50 * 2 * 1024);
  const before = read;
  await model.graph.initializers.get("w7")!.read(10, 12);
  expect(read - before).toBe(8);
});
