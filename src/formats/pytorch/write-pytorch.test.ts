import { describe, expect, test } from "vitest";
import { countingSource, sparseFile, ZEROS } from "../../../test/support/byte-sources.ts";
import { memorySink } from "../../core/byte-sink.ts";
import { memorySource } from "../../core/byte-source.ts";
import { DTYPE_BYTES, type DType } from "../../core/dtype.ts";
import { float32Tensor, type LazyTensor, lazyTensor } from "../../core/tensor.ts";
import { chooseStateDict, readCheckpoint } from "../checkpoint.ts";
import { crc32 } from "../zip/crc32.ts";
import { writePytorch } from "./write-pytorch.ts";

const one = lazyTensor(float32Tensor([1], [1]));

async function roundTrip(list: { name: string; tensor: LazyTensor }[]) {
  const sink = memorySink();
  await writePytorch(list, sink);
  const checkpoint = await readCheckpoint(memorySource("out.pth", sink.bytes()));
  return { bytes: sink.bytes(), tensors: chooseStateDict(checkpoint).state.tensors };
}

test("every dtype and shape is read back, in order", async () => {
  const list = (Object.keys(DTYPE_BYTES) as DType[]).flatMap((dtype) =>
    [[], [5], [2, 3, 1], [0, 2], [300, 1]].map((shape) => {
      const byteCount = shape.reduce((a, b) => a * b, DTYPE_BYTES[dtype]);
      const bytes = Uint8Array.from({ length: byteCount }, (_, i) => (i * 7) & 255);
      return { name: `${dtype}.${shape}`, tensor: lazyTensor({ dtype, shape, bytes }) };
    }),
  );
  const { tensors } = await roundTrip(list);
  expect([...tensors.keys()]).toEqual(list.map(({ name }) => name));
  for (const { name, tensor } of list) {
    expect(tensors.get(name)).toMatchObject({ dtype: tensor.dtype, shape: tensor.shape });
    expect(await tensors.get(name)!.read()).toEqual(await tensor.read());
  }
});

test("the same tensors give the same bytes", async () => {
  const list = [{ name: "a.weight", tensor: one }];
  expect((await roundTrip(list)).bytes).toEqual((await roundTrip(list)).bytes);
});

test("uses the checksum function it is given", async () => {
  let calls = 0;
  const counted = (bytes: Uint8Array, seed: number): number => {
    calls++;
    return crc32(bytes, seed);
  };
  await writePytorch([{ name: "a", tensor: one }], memorySink(), { crc32: counted });
  expect(calls).toBe(4); // data.pkl, byteorder, data/0, version
});

test("refuses two tensors of one name, and stops on abort", async () => {
  const twice = [
    { name: "a", tensor: one },
    { name: "a", tensor: one },
  ];
  await expect(writePytorch(twice, memorySink())).rejects.toThrow('two tensors are called "a"');
  const signal = AbortSignal.abort();
  const list = [{ name: "a", tensor: one }];
  await expect(writePytorch(list, memorySink(), { signal })).rejects.toThrow("stopped");
});

test("reports progress in bytes", async () => {
  const seen: number[][] = [];
  await writePytorch(
    ["a", "b"].map((name) => ({ name, tensor: one })),
    memorySink(),
    { onProgress: ({ done, total }) => seen.push([done, total]) },
  );
  expect(seen).toEqual([
    [4, 8],
    [8, 8],
  ]);
});

describe("a 500 MB checkpoint", () => {
  /** 400 layers of 1.25 MB, as large as RepVGG-B3's training form. */
  async function large() {
    const count = 320 * 1024;
    const list = Array.from({ length: 400 }, (_, i) => ({
      name: `stage${i}.rbr_dense.conv.weight`,
      tensor: {
        dtype: "float32" as const,
        shape: [count],
        read: async (start = 0, end = count) => ZEROS.subarray(start * 4, end * 4),
      },
    }));
    const file = sparseFile();
    await writePytorch(list, file.sink, { crc32: () => 0 });
    return countingSource(file.source("large.pth"));
  }

  test("is listed after reading kilobytes, and read tensor by tensor", async () => {
    const source = await large();
    expect(source.byteLength).toBeGreaterThan(500e6);
    const { state } = chooseStateDict(await readCheckpoint(source));
    expect(state.tensors.size).toBe(400);
    // Directory 400 × ~65 bytes, pickle 400 × ~120 bytes, and the 4 KiB tail.
    expect(source.bytesRead()).toBeLessThan(100_000);
    const before = source.bytesRead();
    await state.tensors.get("stage7.rbr_dense.conv.weight")!.read(10, 20);
    expect(source.bytesRead() - before).toBe(30 + 40); // local header, ten elements
  });
});
