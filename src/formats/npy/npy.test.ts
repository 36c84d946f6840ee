import { describe, expect, test } from "vitest";
import { zipFile } from "../../../test/support/pickle-bytes.ts";
import { memorySource } from "../../core/byte-source.ts";
import { float32Tensor, readFloat64, tensor } from "../../core/tensor.ts";
import { MAX_NPY_HEADER_BYTES, MAX_NPY_RANK, readNpy } from "./read-npy.ts";
import { readNpz } from "./read-npz.ts";
import { writeNpy } from "./write-npy.ts";

const read = (bytes: Uint8Array) => readNpy(memorySource("a.npy", bytes));

function file(header: string, dataBytes = 0, version = 1): Uint8Array {
  const start = version === 1 ? 10 : 12;
  const bytes = new Uint8Array(start + header.length + dataBytes);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  if (version === 1) new DataView(bytes.buffer).setUint16(8, header.length, true);
  else new DataView(bytes.buffer).setUint32(8, header.length, true);
  bytes.set(new TextEncoder().encode(header), start);
  return bytes;
}

const head = (descr: string, shape: string, order = "False"): string =>
  `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }\n`;

test.each([[[]], [[3]], [[2, 3]], [[0, 4]]])("shape %j is written and read back", async (shape) => {
  const count = shape.reduce((a, b) => a * b, 1);
  const value = float32Tensor(
    shape,
    Array.from({ length: count }, (_, i) => i + 0.5),
  );
  const bytes = writeNpy(value);
  expect((bytes.length - count * 4) % 64).toBe(0); // NumPy aligns the elements to 64 bytes
  const lazy = await read(bytes);
  expect(lazy).toMatchObject({ dtype: "float32", shape });
  expect(await lazy.read()).toEqual(value.bytes);
});

test("Fortran order is read in C order", async () => {
  const bytes = file(head("'|u1'", "(2, 3)", "True"), 6);
  bytes.set([1, 4, 2, 5, 3, 6], bytes.length - 6); // the columns of [[1,2,3],[4,5,6]]
  expect([...(await readFloat64(await read(bytes)))]).toEqual([1, 2, 3, 4, 5, 6]);
});

test("version 2 and 3 headers are read", async () => {
  for (const version of [2, 3]) {
    expect(await read(file(head("'<i2'", "(1,)"), 2, version))).toMatchObject({ dtype: "int16" });
  }
});

test("npz gives arrays by name", async () => {
  const zip = await zipFile({ "x.npy": writeNpy(float32Tensor([1], [2])) });
  const arrays = await readNpz(memorySource("a.npz", zip));
  expect([...(await readFloat64(arrays.get("x")!))]).toEqual([2]);
  const other = await zipFile({ "x.txt": "no" });
  await expect(readNpz(memorySource("a.npz", other))).rejects.toThrow("is not a .npy array");
});

test("dtypes NumPy lacks are refused", () => {
  expect(() => writeNpy(tensor("bfloat16", [1], new Uint8Array(2)))).toThrow("no NumPy dtype");
});

describe("refused:", () => {
  test.each<[string, Uint8Array, string]>([
    ["other content", new TextEncoder().encode("hello, world"), "not a .npy file"],
    ["short", Uint8Array.of(0x93, 0x4e), "not a .npy file"],
    ["a new version", file(head("'<f4'", "()"), 4, 4), "version 4"],
    ["big-endian", file(head("'>f4'", "()"), 4), "dtype >f4, expected little-endian"],
    ["objects", file(head("'|O'", "()"), 8), "dtype |O"],
    ["records", file(head("[('a', '<f4')]", "()"), 4), "dtype a record"],
    ["names of Object.prototype", file(head("'<constructor'", "()"), 4), "dtype <constructor"],
    ["no shape", file("{}"), "is missing"],
    ["missing elements", file(head("'<f4'", "(2,)"), 4), "4 bytes of elements, expected 8"],
    ["huge sizes", file(head("'<f4'", "(99999999999999999999,)"), 4), "at most 64 counts"],
    ["a header past the end", file("{}").subarray(0, 11), "not a .npy file"],
  ])("%s", async (_, bytes, message) => {
    await expect(read(bytes)).rejects.toThrow(message);
  });

  test("long headers and many dimensions", async () => {
    const long = file(" ".repeat(MAX_NPY_HEADER_BYTES + 1));
    await expect(read(long)).rejects.toThrow(`at most ${MAX_NPY_HEADER_BYTES}`);
    const dims = "1,".repeat(MAX_NPY_RANK + 1);
    await expect(read(file(head("'|u1'", `(${dims})`), 1))).rejects.toThrow("at most 64 counts");
  });
});
