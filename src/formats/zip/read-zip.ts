/**
 * @file Zip archives, read by ranges: the directory at the end first, then only what is asked for.
 * Field names and numbers: APPNOTE.TXT 6.3.10 (PKWARE), sections 4.3 and 4.5.3 (zip64).
 */

import type { ByteSource } from "../../core/byte-source.ts";
import { badData } from "../../core/errors.ts";
import { readRange } from "../read-range.ts";
import { crc32 } from "./crc32.ts";

/** Entries in one archive. The largest published checkpoints hold a few thousand storages. */
export const MAX_ZIP_ENTRIES = 262_144;
/** Bytes of the central directory: it is held in memory. */
export const MAX_ZIP_DIRECTORY_BYTES: number = 64 * 1024 * 1024;
/** Bytes a compressed entry may grow to: it is held in memory, unlike a stored one. */
export const MAX_INFLATED_BYTES: number = 1024 * 1024 * 1024;
/** Deflate cannot do better than 258 bytes out of 2 bits: a declared size beyond this ratio is a lie. */
const MAX_DEFLATE_RATIO = 1032;
/** Stored entries up to this size are read together with their header, in one request. */
const READ_WITH_HEADER_BYTES = 64 * 1024;

const END_BYTES = 22;
const MAX_COMMENT_BYTES = 0xffff;
const FIRST_TAIL_BYTES = 4096;
const END64_BYTES = 56;
const LOCATOR_BYTES = 20;
const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;

/** One file in an archive, in the directory's own words. */
export interface ZipEntry {
  readonly name: string;
  /** 0 stored, 8 deflated; nothing else is read. */
  readonly method: number;
  readonly encrypted: boolean;
  readonly compressedBytes: number;
  readonly sizeBytes: number;
  /** 0 also means "not recorded" (PyTorch can be told to skip it). */
  readonly crc32: number;
  readonly headerOffset: number;
  /** Where the next header or the directory starts: nothing of this entry lies beyond. */
  readonly limitOffset: number;
}

export interface ZipArchive {
  readonly source: ByteSource;
  /** In directory order. */
  readonly entries: ReadonlyMap<string, ZipEntry>;
}

interface Directory {
  readonly entryCount: number;
  readonly offset: number;
  readonly byteLength: number;
}

/** Whether the file begins like a zip archive (a local header, or the end record of an empty one). */
export function looksLikeZip(head: Uint8Array): boolean {
  return (
    head[0] === 0x50 &&
    head[1] === 0x4b &&
    ((head[2] === 3 && head[3] === 4) || (head[2] === 5 && head[3] === 6))
  );
}

/**
 * Reads the directory of an archive: the last kilobytes of the file.
 *
 * @throws bad-data when the archive is cut off, encrypted, spread over disks or beyond a limit
 */
export async function readZip(source: ByteSource): Promise<ZipArchive> {
  const directory = await findDirectory(source);
  const where = `${source.name}: zip directory`;
  if (directory.entryCount > MAX_ZIP_ENTRIES) {
    throw badData(where, `${directory.entryCount} entries, expected at most ${MAX_ZIP_ENTRIES}`);
  }
  if (directory.byteLength > MAX_ZIP_DIRECTORY_BYTES) {
    throw badData(
      where,
      `${directory.byteLength} bytes, expected at most ${MAX_ZIP_DIRECTORY_BYTES}`,
    );
  }
  const end = directory.offset + directory.byteLength;
  const bytes = await readRange(source, directory.offset, end, "zip directory");
  return { source, entries: parseDirectory(where, bytes, directory) };
}

async function findDirectory(source: ByteSource): Promise<Directory> {
  for (const tailBytes of [FIRST_TAIL_BYTES, END_BYTES + MAX_COMMENT_BYTES]) {
    const start = Math.max(0, source.byteLength - tailBytes);
    const tail = await readRange(source, start, source.byteLength, "end of the zip archive");
    const view = viewOf(tail);
    for (let at = tail.byteLength - END_BYTES; at >= 0; at--) {
      if (view.getUint32(at, true) !== 0x06054b50) continue;
      if (at + END_BYTES + view.getUint16(at + 20, true) !== tail.byteLength) continue;
      return readEnd(source, view, at, start + at);
    }
    if (start === 0) break;
  }
  throw badData(
    source.name,
    "begins as a zip archive but has no directory at its end",
    "The file is probably cut off; fetch it again",
  );
}

async function readEnd(
  source: ByteSource,
  tail: DataView,
  at: number,
  endOffset: number,
): Promise<Directory> {
  const entryCount = tail.getUint16(at + 10, true);
  const byteLength = tail.getUint32(at + 12, true);
  const offset = tail.getUint32(at + 16, true);
  if (tail.getUint16(at + 4, true) !== tail.getUint16(at + 6, true)) {
    throw badData(
      source.name,
      "is one part of a zip archive spread over several, expected one file",
    );
  }
  if (entryCount !== 0xffff && byteLength !== 0xffffffff && offset !== 0xffffffff) {
    return { entryCount, byteLength, offset };
  }
  if (endOffset < LOCATOR_BYTES) return { entryCount, byteLength, offset };
  const locator = viewOf(
    await readRange(source, endOffset - LOCATOR_BYTES, endOffset, "zip64 locator"),
  );
  // An ordinary archive may hold exactly 65535 entries: without a locator the small record counts.
  if (locator.getUint32(0, true) !== 0x07064b50) return { entryCount, byteLength, offset };
  const where = `${source.name}: zip64 end record`;
  const end64Offset = uint64(where, locator, 8);
  const end64 = viewOf(
    await readRange(source, end64Offset, end64Offset + END64_BYTES, "zip64 end record"),
  );
  if (end64.getUint32(0, true) !== 0x06064b50) {
    throw badData(where, "its mark is missing", "The file is damaged; fetch it again");
  }
  return {
    entryCount: uint64(where, end64, 32),
    byteLength: uint64(where, end64, 40),
    offset: uint64(where, end64, 48),
  };
}

function parseDirectory(
  where: string,
  bytes: Uint8Array,
  directory: Directory,
): Map<string, ZipEntry> {
  const view = viewOf(bytes);
  const decoder = new TextDecoder();
  const parsed: Omit<ZipEntry, "limitOffset">[] = [];
  let at = 0;
  for (let i = 0; i < directory.entryCount; i++) {
    if (at + CENTRAL_BYTES > bytes.byteLength || view.getUint32(at, true) !== 0x02014b50) {
      throw badData(
        where,
        `entry ${i} of ${directory.entryCount} is missing`,
        "The file is damaged",
      );
    }
    const nameBytes = view.getUint16(at + 28, true);
    const extraBytes = view.getUint16(at + 30, true);
    const next = at + CENTRAL_BYTES + nameBytes + extraBytes + view.getUint16(at + 32, true);
    if (next > bytes.byteLength) throw badData(where, `entry ${i} runs past the end`);
    const nameEnd = at + CENTRAL_BYTES + nameBytes;
    const name = decoder.decode(bytes.subarray(at + CENTRAL_BYTES, nameEnd));
    const large = readZip64Extra(`${where}: ${name}`, view, nameEnd, nameEnd + extraBytes, [
      view.getUint32(at + 24, true),
      view.getUint32(at + 20, true),
      view.getUint32(at + 42, true),
    ]);
    parsed.push({
      name,
      method: view.getUint16(at + 10, true),
      encrypted: (view.getUint16(at + 8, true) & 1) !== 0,
      crc32: view.getUint32(at + 16, true),
      sizeBytes: large[0],
      compressedBytes: large[1],
      headerOffset: large[2],
    });
    at = next;
  }
  return withLimits(where, parsed, directory.offset);
}

/** The three fields, with those at their 32-bit maximum replaced from the zip64 extra field, in this order. */
function readZip64Extra(
  where: string,
  view: DataView,
  start: number,
  end: number,
  fields: readonly [number, number, number],
): [number, number, number] {
  const result: [number, number, number] = [...fields];
  if (!fields.includes(0xffffffff)) return result;
  for (let at = start; at + 4 <= end; ) {
    const id = view.getUint16(at, true);
    const fieldEnd = at + 4 + view.getUint16(at + 2, true);
    if (fieldEnd > end) break;
    if (id === 1) {
      let value = at + 4;
      for (let i = 0; i < 3; i++) {
        if (fields[i] !== 0xffffffff) continue;
        if (value + 8 > fieldEnd) throw badData(where, "its zip64 field is too short");
        result[i] = uint64(where, view, value);
        value += 8;
      }
      return result;
    }
    at = fieldEnd;
  }
  return result;
}

function withLimits(
  where: string,
  parsed: readonly Omit<ZipEntry, "limitOffset">[],
  directoryOffset: number,
): Map<string, ZipEntry> {
  const order = [...parsed].sort((a, b) => a.headerOffset - b.headerOffset);
  const limits = new Map<unknown, number>();
  order.forEach((entry, i) => {
    limits.set(entry, order[i + 1]?.headerOffset ?? directoryOffset);
  });
  const entries = new Map<string, ZipEntry>();
  for (const entry of parsed) {
    const limitOffset = limits.get(entry)!;
    if (entries.has(entry.name)) throw badData(where, `two entries are called "${entry.name}"`);
    if (entry.headerOffset + LOCAL_BYTES + entry.compressedBytes > limitOffset) {
      throw badData(
        `${where}: ${entry.name}`,
        `${entry.compressedBytes} bytes at ${entry.headerOffset} reach past ${limitOffset}, where something else starts`,
      );
    }
    entries.set(entry.name, { ...entry, limitOffset });
  }
  return entries;
}

/**
 * An entry's content as a source. Stored entries are read by range; deflated ones are inflated whole, once.
 * Nothing is read before the first `slice`.
 *
 * @throws bad-data at once for an unknown method, encryption, or a size beyond the limits
 */
export function zipEntrySource(archive: ZipArchive, entry: ZipEntry): ByteSource {
  const where = `${archive.source.name}: ${entry.name}`;
  if (entry.encrypted)
    throw badData(where, "is encrypted", "Extract and store it without a password");
  if (entry.method === 0) {
    if (entry.compressedBytes !== entry.sizeBytes) {
      throw badData(where, `${entry.compressedBytes} bytes stored, expected ${entry.sizeBytes}`);
    }
    return storedSource(archive.source, entry, where);
  }
  if (entry.method !== 8) {
    throw badData(where, `compression method ${entry.method}, expected 0 (stored) or 8 (deflated)`);
  }
  const most = Math.min(MAX_INFLATED_BYTES, entry.compressedBytes * MAX_DEFLATE_RATIO);
  if (entry.sizeBytes > most) {
    throw badData(where, `inflates to ${entry.sizeBytes} bytes, expected at most ${most}`);
  }
  let inflated: Promise<Uint8Array> | undefined;
  return {
    name: where,
    byteLength: entry.sizeBytes,
    slice: async (start, end) => {
      inflated ??= inflateEntry(archive.source, entry, where);
      return (await inflated).subarray(start, end);
    },
  };
}

/** The whole content, its checksum verified. For small entries; tensors go through `zipEntrySource`. */
export async function readZipEntry(archive: ZipArchive, entry: ZipEntry): Promise<Uint8Array> {
  const source = zipEntrySource(archive, entry);
  const bytes = await readRange(source, 0, source.byteLength, "content");
  if (entry.crc32 !== 0 && crc32(bytes, 0) !== entry.crc32) {
    throw badData(source.name, "its checksum is wrong", "The file is damaged; fetch it again");
  }
  return bytes;
}

function storedSource(archive: ByteSource, entry: ZipEntry, where: string): ByteSource {
  let dataOffset: number | undefined;
  return {
    name: where,
    byteLength: entry.sizeBytes,
    slice: async (start, end, into) => {
      if (dataOffset === undefined) {
        const extent = entry.limitOffset - entry.headerOffset;
        const readBytes = extent <= READ_WITH_HEADER_BYTES ? extent : LOCAL_BYTES;
        const head = await readRange(
          archive,
          entry.headerOffset,
          entry.headerOffset + readBytes,
          entry.name,
        );
        dataOffset = localDataOffset(where, head, entry);
        const from = dataOffset - entry.headerOffset;
        if (from + end <= readBytes) return head.subarray(from + start, from + end);
      }
      return readRange(archive, dataOffset + start, dataOffset + end, entry.name, into);
    },
  };
}

/** The data starts after the local header, whose extra field may differ from the directory's (alignment). */
function localDataOffset(where: string, head: Uint8Array, entry: ZipEntry): number {
  const view = viewOf(head);
  if (view.getUint32(0, true) !== 0x04034b50) {
    throw badData(where, `no local header at byte ${entry.headerOffset}`, "The file is damaged");
  }
  const offset =
    entry.headerOffset + LOCAL_BYTES + view.getUint16(26, true) + view.getUint16(28, true);
  if (offset + entry.compressedBytes > entry.limitOffset) {
    throw badData(where, `its data at ${offset} reaches past ${entry.limitOffset}`);
  }
  return offset;
}

async function inflateEntry(
  archive: ByteSource,
  entry: ZipEntry,
  where: string,
): Promise<Uint8Array> {
  const stored = storedSource(archive, { ...entry, sizeBytes: entry.compressedBytes }, where);
  const packed = await readRange(stored, 0, entry.compressedBytes, "compressed bytes");
  const result = new Uint8Array(entry.sizeBytes);
  let length = 0;
  try {
    const stream = new Blob([Uint8Array.from(packed)])
      .stream()
      .pipeThrough(new DecompressionStream("deflate-raw"));
    const reader = stream.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (length + value.byteLength > entry.sizeBytes) {
        await reader.cancel();
        throw badData(where, `inflates past its declared ${entry.sizeBytes} bytes`);
      }
      result.set(value, length);
      length += value.byteLength;
    }
  } catch (cause) {
    if (cause instanceof TypeError || (cause as { code?: unknown }).code !== undefined) {
      throw badData(where, "its compressed bytes are damaged", "Fetch the file again");
    }
    throw cause;
  }
  if (length !== entry.sizeBytes) {
    throw badData(where, `inflates to ${length} bytes, expected ${entry.sizeBytes}`);
  }
  return result;
}

function uint64(where: string, view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw badData(where, `a 64-bit position of ${value}, expected one inside the file`);
  }
  return Number(value);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
