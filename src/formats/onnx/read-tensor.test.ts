/** @file Tensor data in all its places: raw, typed fields, external files. */

import { expect, test } from "vitest";
import {
  bytes,
  double,
  float,
  int,
  modelBytes,
  type Part,
  packed,
  sub,
  tensor,
  text,
} from "../../../test/onnx-messages.ts";
import { memorySource } from "../../core/byte-source.ts";
import { decodeFloat64 } from "../../core/dtype.ts";
import type { LazyTensor } from "../../core/tensor.ts";
import type { ExternalFiles } from "./external-data.ts";
import { readModel } from "./read-model.ts";

async function readOne(part: Part, external?: ExternalFiles): Promise<LazyTensor> {
  const model = await readModel(memorySource("m.onnx", modelBytes(part)), { external });
  return model.graph.initializers.get("t")!;
}

const typed: readonly (readonly [string, number, Part[], number[]])[] = [
  ["float32", 1, [bytes(4, new Uint8Array(Float32Array.of(1.5, -2).buffer))], [1.5, -2]],
  ["float32", 1, [float(4, 1.5), float(4, -2)], [1.5, -2]],
  ["float64", 11, [bytes(10, new Uint8Array(Float64Array.of(0.1, -2).buffer))], [0.1, -2]],
  ["float64", 11, [double(10, 0.1), double(10, -2)], [0.1, -2]],
  ["int64", 7, [packed(7, [-1, 300])], [-1, 300]],
  ["int64", 7, [packed(7, [-1]), int(7, 300)], [-1, 300]],
  ["int32", 6, [packed(5, [-1, 2 ** 31 - 1])], [-1, 2 ** 31 - 1]],
  ["int16", 5, [packed(5, [-1, 300])], [-1, 300]],
  ["int8", 3, [packed(5, [-128, 127])], [-128, 127]],
  ["uint8", 2, [packed(5, [0, 255])], [0, 255]],
  ["uint16", 4, [packed(5, [0, 65535])], [0, 65535]],
  ["bool", 9, [packed(5, [1, 0])], [1, 0]],
  ["float16", 10, [packed(5, [0x3c00, 0xc000])], [1, -2]], // IEEE half: 1 and −2
  ["bfloat16", 16, [packed(5, [0x3f80, 0xc000])], [1, -2]], // upper half of the float32 1 and −2
  ["uint32", 12, [packed(11, [0, 2 ** 32 - 1])], [0, 2 ** 32 - 1]],
  ["uint64", 13, [packed(11, [0, 2 ** 40])], [0, 2 ** 40]],
];

test.each(typed)("%s in its typed field (%#)", async (dtype, code, data, values) => {
  const lazy = await readOne(tensor("t", [2], code, ...data));
  expect(lazy.dtype).toBe(dtype);
  expect([...decodeFloat64(await lazy.read(), lazy.dtype)]).toEqual(values);
  expect([...decodeFloat64(await lazy.read(1, 2), lazy.dtype)]).toEqual(values.slice(1));
  expect([...(await lazy.read(1, 1))]).toEqual([]);
});

const raw = bytes(9, new Uint8Array(8));

test.each<[string, Part, string]>([
  [
    "raw data shorter than the shape",
    tensor("t", [3], 1, raw),
    "8 bytes of data for float32 [3], expected 12",
  ],
  [
    "raw data longer than the shape",
    tensor("t", [1], 1, raw),
    "8 bytes of data for float32 [1], expected 4",
  ],
  ["no data", tensor("t", [1], 1), "0 bytes of data for float32 [1], expected 4"],
  ["a negative dimension", tensor("t", [-1], 1, raw), "dimension -1, expected 0 or more"],
  [
    "a dimension beyond 2^53",
    sub(5, int(1, 2n ** 60n), int(2, 1), text(8, "t")),
    "dimension 1152921504606846976",
  ],
  ["a product beyond 2^53", tensor("t", [2 ** 30, 2 ** 30], 1, raw), "has more than 2^53 bytes"],
  [
    "too many dimensions",
    tensor("t", Array(65).fill(1), 1, raw),
    "65 dimensions, expected at most 64",
  ],
  ["no element type", tensor("t", [1], 0, raw), "element type 0, expected 1 to 28"],
  ["an unknown element type", tensor("t", [1], 29, raw), "element type 29"],
  [
    "the wrong typed field",
    tensor("t", [1], 1, packed(7, [1])),
    "float32 data in fields 7, expected raw data or field 4",
  ],
  ["data twice", tensor("t", [2], 1, raw, float(4, 1)), "float32 data in fields 9, 4"],
  ["a list as a number", tensor("t", [1], 1, int(9, 1)), "field 9 at byte"],
  [
    "too few varints",
    tensor("t", [3], 7, packed(7, [1, 2])),
    "2 bytes of varints for [3], expected 3 to 30",
  ],
  ["segments", tensor("t", [2], 1, raw, sub(3, int(1, 0))), "cut into segments"],
  ["no name", sub(5, int(1, 2), int(2, 1), raw), "has no name"],
])("%s is refused", async (_, part, message) => {
  await expect(readOne(part)).rejects.toMatchObject({
    tag: "bad-data",
    message: expect.stringContaining(message) as unknown,
  });
});

test.each<[string, number, number, (number | bigint)[], string]>([
  ["too large for int8", 3, 1, [128], "element 0 is 128, expected -128 to 127 for int8"],
  ["negative for uint8", 2, 1, [-1], "element 0 is -1, expected 0 to 255"],
  ["too few", 6, 2, [2 ** 20], "its varints end before element 2"],
  ["too many", 6, 2, [1, 2, 3], "more than 2 varints"],
])("int32 data that is %s is refused when it is read", async (_, code, count, values, message) => {
  const lazy = await readOne(tensor("t", [count], code, packed(5, values)));
  await expect(lazy.read()).rejects.toThrow(message);
});

test("a name given twice is refused", async () => {
  const twice = modelBytes(tensor("t", [2], 1, raw), tensor("t", [2], 1, raw));
  await expect(readModel(memorySource("m.onnx", twice))).rejects.toThrow(
    "initializer t: it is given twice",
  );
});

const entry = (key: string, value: string): Part => sub(13, text(1, key), text(2, value));
const external = (...entries: Part[]): Part => tensor("t", [2], 1, ...entries, int(14, 1));
const dataFile = memorySource("w.bin", new Uint8Array(Float32Array.of(9, 1, 2, 9).buffer));
const opened: string[] = [];
const files: ExternalFiles = {
  open: async (location) => {
    opened.push(location);
    return dataFile;
  },
};

test("external data is read from its place", async () => {
  const part = external(
    entry("location", "data/w.bin"),
    entry("offset", "4"),
    entry("length", "8"),
  );
  const lazy = await readOne(part, files);
  expect(opened).toEqual(["data/w.bin"]);
  expect([...decodeFloat64(await lazy.read(), "float32")]).toEqual([1, 2]);
});

test("external data without its file says which file is missing", async () => {
  await expect(readOne(external(entry("location", "w.bin")))).rejects.toMatchObject({
    tag: "not-found",
    message: expect.stringContaining('its data is in the file "w.bin"') as unknown,
  });
});

test.each([
  "",
  "/etc/passwd",
  "../w.bin",
  "a/../../w.bin",
  "a/..",
  "..",
  "C:/w.bin",
  "C:w.bin",
  "a\\..\\w.bin",
  "\\\\host\\share",
  "file:///w.bin",
  "a//b",
  ".",
  "a\0b",
  "a\n",
  "x".repeat(2000),
])("external location %j is refused before anything is opened", async (location) => {
  const open = async (): Promise<never> => {
    throw new Error("opened");
  };
  await expect(readOne(external(entry("location", location)), { open })).rejects.toMatchObject({
    tag: "bad-data",
    message: expect.stringContaining(
      "expected a relative path inside the model's folder",
    ) as unknown,
  });
});

test.each<[string, Part, string]>([
  [
    "a wrong length",
    external(entry("location", "w"), entry("length", "4")),
    "external data has 4 bytes for float32 [2], expected 8",
  ],
  [
    "an end beyond the file",
    external(entry("location", "w"), entry("offset", "12")),
    "ends at byte 20 of w.bin, which has 16",
  ],
  ["a negative offset", external(entry("location", "w"), entry("offset", "-4")), 'offset is "-4"'],
  [
    "an offset beyond 2^53",
    external(entry("location", "w"), entry("offset", "9".repeat(20))),
    "offset is",
  ],
  ["data inside as well", external(entry("location", "w"), raw), "both inside and outside"],
  [
    "strings",
    tensor("t", [1], 8, entry("location", "w"), int(14, 1)),
    "element type 8 in external data",
  ],
])("external data with %s is refused", async (_, part, message) => {
  await expect(readOne(part, files)).rejects.toThrow(message);
});
