import { describe, expect, test } from "vitest";
import { sparseFile, ZEROS } from "../../../test/support/byte-sources.ts";
import { zipFile } from "../../../test/support/pickle-bytes.ts";
import { memorySink } from "../../core/byte-sink.ts";
import { memorySource } from "../../core/byte-source.ts";
import { crc32 } from "./crc32.ts";
import {
  MAX_INFLATED_BYTES,
  MAX_ZIP_DIRECTORY_BYTES,
  MAX_ZIP_ENTRIES,
  readZip,
  readZipEntry,
  type ZipArchive,
  zipEntrySource,
} from "./read-zip.ts";
import { createZipWriter, DATA_ALIGNMENT } from "./write-zip.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

async function open(file: Uint8Array): Promise<ZipArchive> {
  return readZip(memorySource("a.zip", file));
}

/** Offset of the first (or last) 4-byte mark. */
function findMark(file: Uint8Array, mark: number, from = 0): number {
  const view = new DataView(file.buffer, file.byteOffset);
  for (let i = from; i + 4 <= file.length; i++) if (view.getUint32(i, true) === mark) return i;
  throw new Error("no such mark");
}

const CENTRAL = 0x02014b50;
const END = 0x06054b50;

async function patched(
  entries: Record<string, string>,
  patch: (view: DataView, central: number, end: number) => void,
): Promise<Uint8Array> {
  const file = await zipFile(entries);
  const view = new DataView(file.buffer);
  patch(view, findMark(file, CENTRAL), findMark(file, END));
  return file;
}

describe("crc32", () => {
  test("gives the standard check value", () => {
    expect(crc32(bytes("123456789"), 0)).toBe(0xcbf43926); // the CRC catalogue's check
  });

  test("continues over any split", () => {
    const all = Uint8Array.from({ length: 41 }, (_, i) => (i * 37) & 255);
    for (let cut = 0; cut <= all.length; cut++) {
      expect(crc32(all.subarray(cut), crc32(all.subarray(0, cut), 0))).toBe(crc32(all, 0));
    }
  });
});

describe("a written archive", () => {
  test("is read back, its data on 64-byte boundaries", async () => {
    const file = await zipFile({ a: "hello", "folder/ü": "", "folder/c": "x".repeat(1000) });
    const archive = await open(file);
    expect([...archive.entries.keys()]).toEqual(["a", "folder/ü", "folder/c"]);
    const content = await readZipEntry(archive, archive.entries.get("folder/c")!);
    expect(content).toEqual(bytes("x".repeat(1000)));
    expect(
      file.findIndex((_, i) => file[i] === 0x78 && file[i + 1] === 0x78) % DATA_ALIGNMENT,
    ).toBe(0);
    expect(await zipFile({ a: "hello" })).toEqual(await zipFile({ a: "hello" }));
  });

  test("may hold 70 000 entries", async () => {
    const sink = memorySink();
    const zip = createZipWriter(sink);
    for (let i = 0; i < 70_000; i++) await zip.entry(String(i), 0, []);
    await zip.finish();
    const archive = await open(sink.bytes());
    expect(archive.entries.size).toBe(70_000); // more than a uint16 counts: zip64
  });

  test("may be larger than 4 GB, entries and positions", async () => {
    const file = sparseFile();
    const zip = createZipWriter(file.sink, { crc32: () => 0 });
    const sizeBytes = 2 ** 32 + ZEROS.length;
    async function* chunks(): AsyncIterable<Uint8Array> {
      for (let at = 0; at < sizeBytes; at += ZEROS.length) yield ZEROS;
    }
    await zip.entry("large", sizeBytes, chunks());
    await zip.entry("after", 5, [bytes("hello")]);
    await zip.finish();
    const archive = await readZip(file.source("big.zip"));
    expect(archive.entries.get("large")?.sizeBytes).toBe(sizeBytes);
    const after = zipEntrySource(archive, archive.entries.get("after")!);
    expect(await after.slice(1, 4)).toEqual(bytes("ell"));
  });

  test("fails when an entry's chunks do not add up", async () => {
    const zip = createZipWriter(memorySink());
    await expect(zip.entry("a", 4, [bytes("abc")])).rejects.toThrow("3 bytes came, expected 4");
  });
});

test("reads deflated entries", async () => {
  const text = "deflate ".repeat(500);
  const packed = new Uint8Array(
    await new Response(
      new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw")),
    ).arrayBuffer(),
  );
  const build = async (sizeBytes: number, content: Uint8Array): Promise<ZipArchive> => {
    const sink = memorySink();
    const zip = createZipWriter(sink);
    await zip.entry("a", content.length, [content]);
    await zip.finish();
    const file = sink.bytes();
    const view = new DataView(file.buffer);
    const central = findMark(file, CENTRAL);
    view.setUint16(central + 10, 8, true);
    view.setUint32(central + 16, crc32(bytes(text), 0), true);
    view.setUint32(central + 24, sizeBytes, true);
    return open(file);
  };
  const good = await build(text.length, packed);
  expect(await readZipEntry(good, good.entries.get("a")!)).toEqual(bytes(text));
  for (const wrong of [text.length - 1, text.length + 1]) {
    const bad = await build(wrong, packed);
    await expect(readZipEntry(bad, bad.entries.get("a")!)).rejects.toThrow("inflates");
  }
  const damaged = await build(
    text.length,
    packed.map((b) => b ^ 0x55),
  );
  await expect(readZipEntry(damaged, damaged.entries.get("a")!)).rejects.toThrow("damaged");
  const bomb = await build(MAX_INFLATED_BYTES, packed);
  expect(() => zipEntrySource(bomb, bomb.entries.get("a")!)).toThrow("expected at most");
});

describe("a hostile archive is refused:", () => {
  test("too many entries", async () => {
    const file = await patched({ a: "x" }, (view, _, end) => {
      view.setUint32(end + 12, 0xffffffff, true);
    });
    await expect(open(file)).rejects.toThrow("expected at most"); // directory of 4 GB
    const zip64 = Uint8Array.from([...new Uint8Array(76), ...file.slice(-22)]);
    const view = new DataView(zip64.buffer);
    view.setUint32(0, 0x06064b50, true);
    view.setBigUint64(32, BigInt(MAX_ZIP_ENTRIES + 1), true);
    view.setUint32(56, 0x07064b50, true);
    await expect(open(zip64)).rejects.toThrow(`expected at most ${MAX_ZIP_ENTRIES}`);
    view.setBigUint64(32, 1n, true);
    view.setBigUint64(40, BigInt(MAX_ZIP_DIRECTORY_BYTES + 1), true);
    await expect(open(zip64)).rejects.toThrow(`expected at most ${MAX_ZIP_DIRECTORY_BYTES}`);
    view.setBigUint64(40, 2n ** 63n, true);
    await expect(open(zip64)).rejects.toThrow("64-bit position");
  });

  test.each<[string, (view: DataView, central: number, end: number) => void, string]>([
    ["an entry reaching past its end", (v, c) => v.setUint32(c + 20, 999, true), "reach past"],
    [
      "a directory outside the file",
      (v, _, e) => v.setUint32(e + 16, 99999, true),
      "inside the file",
    ],
    ["more entries than there are", (v, _, e) => v.setUint16(e + 10, 9, true), "is missing"],
    ["several disks", (v, _, e) => v.setUint16(e + 4, 1, true), "spread"],
  ])("%s", async (_, patch, message) => {
    await expect(open(await patched({ a: "x" }, patch))).rejects.toThrow(message);
  });

  test.each<[string, (view: DataView, central: number) => void, string]>([
    ["encryption", (v, c) => v.setUint16(c + 8, 1, true), "encrypted"],
    ["an unknown method", (v, c) => v.setUint16(c + 10, 12, true), "compression method 12"],
    ["two sizes", (v, c) => v.setUint32(c + 24, 3, true), "expected 3"],
    ["no local header", (v) => v.setUint32(0, 0, true), "no local header"],
    ["a local name that is too long", (v) => v.setUint16(26, 60000, true), "reaches past"],
    ["a wrong checksum", (v, c) => v.setUint32(c + 16, 1, true), "checksum"],
  ])("%s", async (_, patch, message) => {
    const archive = await open(await patched({ a: "hi" }, patch));
    await expect(async () => readZipEntry(archive, archive.entries.get("a")!)).rejects.toThrow(
      message,
    );
  });

  test("two entries of one name", async () => {
    const sink = memorySink();
    const zip = createZipWriter(sink);
    await zip.entry("a", 0, []);
    await zip.entry("a", 0, []);
    await zip.finish();
    await expect(open(sink.bytes())).rejects.toThrow('two entries are called "a"');
  });

  test("cut off", async () => {
    const file = await zipFile({ a: "hello" });
    await expect(open(file.subarray(0, file.length - 1))).rejects.toThrow("cut off");
  });
});
