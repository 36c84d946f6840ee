import { describe, expect, test } from "vitest";
import { memorySink } from "../../core/byte-sink.ts";
import { memorySource } from "../../core/byte-source.ts";
import { float32Tensor, int64Tensor, lazyTensor, tensor } from "../../core/tensor.ts";
import {
  MAX_SAFETENSORS_HEADER_BYTES,
  MAX_SAFETENSORS_RANK,
  MAX_SAFETENSORS_TENSORS,
  readSafetensors,
} from "./read-safetensors.ts";
import { writeSafetensors } from "./write-safetensors.ts";

function file(header: string, dataBytes = 0): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

const read = (bytes: Uint8Array) => readSafetensors(memorySource("m.safetensors", bytes));

test("what is written is read back: names in order, data aligned", async () => {
  const list = [
    { name: "7", tensor: lazyTensor(float32Tensor([3], [1, 2, 3])) },
    { name: "2", tensor: lazyTensor(int64Tensor([], [9])) },
    { name: "ü", tensor: lazyTensor(tensor("bfloat16", [1], Uint8Array.of(1, 2))) },
    { name: "__proto__", tensor: lazyTensor(float32Tensor([0], [])) },
  ];
  const sink = memorySink();
  await writeSafetensors(list, sink, { metadata: { made: "here" } });
  const { tensors, metadata } = await read(sink.bytes());
  expect(metadata).toEqual({ made: "here" });
  for (const { name, tensor: lazy } of list) {
    expect(tensors.get(name)).toMatchObject({ dtype: lazy.dtype, shape: lazy.shape });
    expect(await tensors.get(name)!.read()).toEqual(await lazy.read());
  }
  expect(tensors.size).toBe(list.length);
});

test("reads a tensor at an odd position", async () => {
  const header =
    '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}';
  const bytes = file(header, 5);
  bytes.set([0, 0, 128, 63], bytes.length - 4);
  const lazy = (await read(bytes)).tensors.get("b")!;
  expect(await lazy.read()).toEqual(Uint8Array.of(0, 0, 128, 63));
});

test("refuses names and dtypes it cannot write", async () => {
  const one = lazyTensor(float32Tensor([1], [1]));
  const complex = lazyTensor(tensor("complex128", [1], new Uint8Array(16)));
  const write = (name: string, t: typeof one) =>
    writeSafetensors([{ name, tensor: t }], memorySink());
  await expect(write("__metadata__", one)).rejects.toThrow("reserved");
  await expect(write("c", complex)).rejects.toThrow("complex128 cannot be stored");
  const twice = [
    { name: "a", tensor: one },
    { name: "a", tensor: one },
  ];
  await expect(writeSafetensors(twice, memorySink())).rejects.toThrow('two tensors are called "a"');
});

describe("a bad header is refused:", () => {
  const entry = (dtype: string, shape: string, offsets: string): string =>
    `{"t":{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}}`;
  test.each<[string, string, string, number?]>([
    ["not JSON", "{", "is not JSON"],
    ["a list", "[]", "not a JSON object"],
    ["metadata with numbers", '{"__metadata__":{"a":1}}', "map from text to text"],
    ["an unknown dtype", entry("F4", "[1]", "[0,1]"), 'dtype "F4"', 1],
    ["a dtype of Object.prototype", entry("constructor", "[1]", "[0,1]"), "expected one of", 1],
    ["a negative size", entry("F32", "[-1]", "[0,4]"), "list of at most", 4],
    ["one offset", entry("F32", "[1]", "[0]"), "two counts", 4],
    ["a size that is not the shape's", entry("F32", "[2]", "[0,4]"), "4 bytes for F32 [2]", 4],
    [
      "an overflowing shape",
      entry("F32", "[9007199254740991,9007199254740991]", "[0,4]"),
      "4 bytes",
      4,
    ],
    ["a hole", entry("F32", "[1]", "[4,8]"), "starts at 4, expected 0", 8],
    ["bytes left over", entry("F32", "[1]", "[0,4]"), "5 bytes of tensors", 5],
    ["bytes missing", entry("F32", "[1]", "[0,4]"), "3 bytes of tensors", 3],
    ["an entry that is no object", '{"t":3}', "not an object"],
    [
      "overlap",
      '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
      "starts at 1, expected 2",
      3,
    ],
  ])("%s", async (_, header, message, dataBytes = 0) => {
    await expect(read(file(header, dataBytes))).rejects.toThrow(message);
  });

  test("longer than the limit", async () => {
    const bytes = file("{}");
    new DataView(bytes.buffer).setBigUint64(0, BigInt(MAX_SAFETENSORS_HEADER_BYTES + 1), true);
    await expect(read(bytes)).rejects.toThrow(`at most ${MAX_SAFETENSORS_HEADER_BYTES}`);
  });

  test("longer than the file", async () => {
    const bytes = file("{}");
    new DataView(bytes.buffer).setBigUint64(0, 3n, true);
    await expect(read(bytes)).rejects.toThrow("inside the file's 10 bytes");
  });

  test("too many dimensions", async () => {
    const shape = JSON.stringify(new Array(MAX_SAFETENSORS_RANK + 1).fill(1));
    await expect(read(file(entry("U8", shape, "[0,1]"), 1))).rejects.toThrow("at most 64 counts");
  });

  test("too many tensors", async () => {
    const empty = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}';
    const entries = Array.from(
      { length: MAX_SAFETENSORS_TENSORS + 1 },
      (_, i) => `"${i}":${empty}`,
    );
    await expect(read(file(`{${entries.join(",")}}`))).rejects.toThrow(
      `at most ${MAX_SAFETENSORS_TENSORS}`,
    );
  });
});
