import { describe, expect, test } from "vitest";
import { countingSource, sparseFile, ZEROS } from "../../../test/support/byte-sources.ts";
import {
  type Bytes,
  call,
  dict,
  floats,
  int,
  name,
  no,
  none,
  persistent,
  text,
  torchLegacy,
  torchZip,
  tuple,
  vector,
} from "../../../test/support/pickle-bytes.ts";
import { memorySource } from "../../core/byte-source.ts";
import { readFloat64 } from "../../core/tensor.ts";
import { type Checkpoint, chooseStateDict, readCheckpoint } from "../checkpoint.ts";
import { createZipWriter } from "../zip/write-zip.ts";
import { MAX_PICKLE_BYTES, MAX_PICKLE_STRING_BYTES, MAX_TENSORS } from "./pickle-limits.ts";

const storages = { 0: floats(1, 2, 3, 4, 5, 6), 1: floats(7, 8) };
const six = vector("0", 6);
const two = vector("1", 2);

async function read(value: Bytes, extra?: Record<string, string>): Promise<Checkpoint> {
  const file = await torchZip(value, storages, extra);
  return readCheckpoint(memorySource("net.pth", file));
}

const paths = (checkpoint: Checkpoint): string[] => checkpoint.candidates.map(({ path }) => path);

async function valuesAt(checkpoint: Checkpoint, key: string): Promise<number[]> {
  const lazy = chooseStateDict(checkpoint).state.tensors.get(key);
  return [...(await readFloat64(lazy!))];
}

describe("the zip container", () => {
  test.each<[string, Record<string, string>, string]>([
    ["a newer version", { version: "10" }, 'container version "10"'],
    ["big-endian data", { version: "3", byteorder: "big" }, 'byte order "big"'],
    ["a long version", { version: "3".repeat(100) }, "expected at most 64"],
  ])("%s is refused", async (_, extra, message) => {
    await expect(read(dict({ w: six }), extra)).rejects.toThrow(message);
  });

  test("versions 1 to 3 with little byte order, or without both, are read", async () => {
    for (const extra of [{}, { version: "1" }, { version: "2\n", byteorder: "little" }]) {
      expect(paths(await read(dict({ w: six }), extra))).toEqual([""]);
    }
  });
});

describe("sizes", () => {
  test("more tensors than the limit are refused", async () => {
    const names = Array.from({ length: MAX_TENSORS + 1 }, (_, i) => [...text(String(i)), 0x68, 0]);
    const value: Bytes = [...two, 0x71, 0, 0x30, 0x7d, 0x28, ...names.flat(), 0x75];
    await expect(read(value)).rejects.toThrow(`expected at most ${MAX_TENSORS}`);
  });

  test("pickles larger than the limit are refused before they are read", async () => {
    const file = sparseFile();
    const zip = createZipWriter(file.sink, { crc32: () => 0 });
    const sizeBytes = MAX_PICKLE_BYTES + ZEROS.length;
    await zip.entry("net/data.pkl", sizeBytes, [ZEROS, ZEROS, ZEROS]);
    await zip.finish();
    const source = countingSource(file.source("net.pth"));
    await expect(readCheckpoint(source)).rejects.toThrow(`expected at most ${MAX_PICKLE_BYTES}`);
    expect(source.bytesRead()).toBeLessThan(10_000);
  });

  test("legacy pickles larger than the limit are refused", async () => {
    const file = sparseFile();
    const head = torchLegacy(none, []);
    await file.sink.write(head.subarray(0, head.length - 10)); // without the object (4 bytes) and the keys (6)
    await file.sink.write(Uint8Array.of(0x80, 2));
    for (let bytes = 0; bytes <= MAX_PICKLE_BYTES; bytes += MAX_PICKLE_STRING_BYTES) {
      await file.sink.write(Uint8Array.from([0x42, 0, 0, 0, 1])); // BINBYTES of 2^24
      await file.sink.write(ZEROS.subarray(0, MAX_PICKLE_STRING_BYTES));
    }
    const source = file.source("old.pth");
    await expect(readCheckpoint(source)).rejects.toThrow(
      `pickles of more than ${MAX_PICKLE_BYTES}`,
    );
  });
});

describe("the legacy container", () => {
  const open = (file: Uint8Array) => readCheckpoint(memorySource("old.pth", file));
  const parts = [
    ["1", floats(7, 8)],
    ["0", floats(1, 2, 3, 4, 5, 6)],
  ] as const;

  test("is read by ranges", async () => {
    const big = floats(...new Array(50_000).fill(1));
    const source = countingSource(
      memorySource(
        "old.pth",
        torchLegacy(dict({ w: six, v: vector("1", 50_000) }), [["1", big], parts[1]]),
      ),
    );
    const checkpoint = await readCheckpoint(source);
    expect(checkpoint.format).toBe("pytorch-legacy");
    expect(await valuesAt(checkpoint, "w")).toEqual([1, 2, 3, 4, 5, 6]);
    expect(source.bytesRead()).toBeLessThan(70_000); // 64 KiB window of 200 kB
  });

  test("storages cut out of others, as before PyTorch 0.4", async () => {
    const view = tuple(text("view"), int(2), int(3));
    const id = tuple(
      text("storage"),
      name("torch", "FloatStorage"),
      text("0"),
      text("cpu"),
      int(6),
      view,
    );
    const t = call(
      name("torch._utils", "_rebuild_tensor"),
      ...[persistent(id), int(1), tuple(int(2)), tuple(int(1))],
    );
    const checkpoint = await open(torchLegacy(dict({ t }), [parts[1]]));
    expect(await valuesAt(checkpoint, "t")).toEqual([4, 5]); // storage[2:5][1:3]
  });

  test.each<[string, () => Uint8Array, string]>([
    ["big-endian", () => torchLegacy(none, [], dict({ little_endian: no })), "big-endian"],
    ["cut off", () => torchLegacy(dict({ w: six }), [parts[1]]).subarray(0, -1), "the file has"],
    ["a missing storage", () => torchLegacy(dict({ w: six }), []), "storage 0 is missing"],
    ["an unknown key", () => torchLegacy(dict({ w: six }), [parts[0], parts[1]]), "do not match"],
    ["two sizes", () => torchLegacy(dict({ a: six, b: vector("0", 5) }), [parts[1]]), "two sizes"],
  ])("%s is refused", async (_, file, message) => {
    await expect(open(file())).rejects.toThrow(message);
  });

  test("a storage of another length is refused when it is read", async () => {
    const file = torchLegacy(dict({ w: six }), [parts[1]]);
    file[file.length - 32] = 9; // the low byte of the count before 24 bytes of elements
    const checkpoint = await open(file);
    await expect(valuesAt(checkpoint, "w")).rejects.toThrow(
      "9 elements are stored, 6 are announced",
    );
  });
});
