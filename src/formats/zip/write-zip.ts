/**
 * @file A zip archive of stored entries, written front to back without seeking: sizes are known up front, checksums
 * follow the data in descriptors, as PyTorch's own writer does. Data starts on 64-byte boundaries so that readers can
 * map it. Dates are zero: same content, same bytes.
 * Field names and numbers: APPNOTE.TXT 6.3.10 (PKWARE), sections 4.3 and 4.5.3 (zip64).
 */

import type { ByteSink } from "../../core/byte-sink.ts";
import { internalError } from "../../core/errors.ts";
import { type Crc32, crc32 as ownCrc32 } from "./crc32.ts";

/** PyTorch maps storages straight from the file: each starts at a multiple of this. */
export const DATA_ALIGNMENT = 64;

const MAX_UINT32 = 0xffffffff;
const MAX_UINT16 = 0xffff;
const LOCAL_BYTES = 30;
/** Bit 3: checksum and sizes follow the data. Bit 11: names are UTF-8. */
const FLAGS = (1 << 3) | (1 << 11);

export interface ZipWriter {
  /** Appends an entry whose `chunks` add up to `sizeBytes`. One entry at a time. */
  entry(
    name: string,
    sizeBytes: number,
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void>;
  /** Writes the directory. Does not close the sink. */
  finish(): Promise<void>;
}

interface Written {
  readonly name: Uint8Array;
  readonly sizeBytes: number;
  readonly crc: number;
  readonly headerOffset: number;
}

/**
 * @param options.crc32 a faster CRC-32, such as Node's `zlib.crc32`
 * @param options.startOffset where the sink stands; only tests of positions beyond 4 GB need it
 */
export function createZipWriter(
  sink: ByteSink,
  options: { readonly crc32?: Crc32 | undefined; readonly startOffset?: number } = {},
): ZipWriter {
  const checksum = options.crc32 ?? ownCrc32;
  const written: Written[] = [];
  let offset = options.startOffset ?? 0;
  const put = async (bytes: Uint8Array): Promise<void> => {
    await sink.write(bytes);
    offset += bytes.byteLength;
  };
  return {
    entry: async (name, sizeBytes, chunks) => {
      const encoded = new TextEncoder().encode(name);
      const headerOffset = offset;
      const large = sizeBytes >= MAX_UINT32;
      await put(localHeader(encoded, large, headerOffset));
      let crc = 0;
      const end = offset + sizeBytes;
      for await (const chunk of chunks) {
        crc = checksum(chunk, crc) >>> 0;
        await put(chunk);
      }
      if (offset !== end) {
        throw internalError(
          `zip entry ${name}`,
          `${offset - end + sizeBytes} bytes came, expected ${sizeBytes}`,
        );
      }
      await put(descriptor(crc, sizeBytes, large));
      written.push({ name: encoded, sizeBytes, crc, headerOffset });
    },
    finish: async () => {
      const start = offset;
      for (const entry of written) await put(centralHeader(entry));
      await put(endRecords(written.length, start, offset));
    },
  };
}

function localHeader(name: Uint8Array, large: boolean, headerOffset: number): Uint8Array {
  const zip64Bytes = large ? 20 : 0;
  const start = headerOffset + LOCAL_BYTES + name.byteLength + zip64Bytes + 4;
  const paddingBytes = (DATA_ALIGNMENT - (start % DATA_ALIGNMENT)) % DATA_ALIGNMENT;
  const record = createRecord(start + paddingBytes - headerOffset);
  record.uint32(0x04034b50);
  record.uint16(large ? 45 : 20);
  record.uint16(FLAGS);
  record.skip(10); // method 0, time 0, date 0, checksum: in the descriptor
  record.uint32(large ? MAX_UINT32 : 0);
  record.uint32(large ? MAX_UINT32 : 0);
  record.uint16(name.byteLength);
  record.uint16(zip64Bytes + 4 + paddingBytes);
  record.bytes(name);
  if (large) {
    record.uint16(1);
    record.uint16(16);
    record.skip(16); // sizes: in the descriptor
  }
  record.uint16(0x4246); // "FB": the extra field PyTorch pads with
  record.uint16(paddingBytes);
  record.skip(paddingBytes);
  return record.result;
}

function descriptor(crc: number, sizeBytes: number, large: boolean): Uint8Array {
  const record = createRecord(large ? 24 : 16);
  record.uint32(0x08074b50);
  record.uint32(crc);
  for (let i = 0; i < 2; i++) {
    if (large) record.uint64(sizeBytes);
    else record.uint32(sizeBytes);
  }
  return record.result;
}

function centralHeader({ name, sizeBytes, crc, headerOffset }: Written): Uint8Array {
  const large = sizeBytes >= MAX_UINT32;
  const far = headerOffset >= MAX_UINT32;
  const fieldBytes = (large ? 16 : 0) + (far ? 8 : 0);
  const extraBytes = fieldBytes > 0 ? fieldBytes + 4 : 0;
  const record = createRecord(46 + name.byteLength + extraBytes);
  record.uint32(0x02014b50);
  record.uint16(extraBytes > 0 ? 45 : 20);
  record.uint16(extraBytes > 0 ? 45 : 20);
  record.uint16(FLAGS);
  record.skip(6); // method 0, time 0, date 0
  record.uint32(crc);
  record.uint32(large ? MAX_UINT32 : sizeBytes);
  record.uint32(large ? MAX_UINT32 : sizeBytes);
  record.uint16(name.byteLength);
  record.uint16(extraBytes);
  record.skip(10); // no comment, disk 0, no attributes
  record.uint32(far ? MAX_UINT32 : headerOffset);
  record.bytes(name);
  if (extraBytes > 0) {
    record.uint16(1);
    record.uint16(fieldBytes);
    if (large) {
      record.uint64(sizeBytes);
      record.uint64(sizeBytes);
    }
    if (far) record.uint64(headerOffset);
  }
  return record.result;
}

function endRecords(count: number, start: number, end: number): Uint8Array {
  const large = count >= MAX_UINT16 || start >= MAX_UINT32 || end - start >= MAX_UINT32;
  const record = createRecord(22 + (large ? 76 : 0));
  if (large) {
    record.uint32(0x06064b50);
    record.uint64(44); // bytes of this record after this field
    record.uint16(45);
    record.uint16(45);
    record.skip(8); // this disk, directory's disk
    record.uint64(count);
    record.uint64(count);
    record.uint64(end - start);
    record.uint64(start);
    record.uint32(0x07064b50);
    record.skip(4);
    record.uint64(end);
    record.uint32(1);
  }
  record.uint32(0x06054b50);
  record.skip(4);
  record.uint16(Math.min(count, MAX_UINT16));
  record.uint16(Math.min(count, MAX_UINT16));
  record.uint32(Math.min(end - start, MAX_UINT32));
  record.uint32(Math.min(start, MAX_UINT32));
  record.skip(2);
  return record.result;
}

interface RecordWriter {
  readonly result: Uint8Array;
  uint16(value: number): void;
  uint32(value: number): void;
  uint64(value: number): void;
  bytes(value: Uint8Array): void;
  /** Leaves zeros. */
  skip(count: number): void;
}

function createRecord(byteLength: number): RecordWriter {
  const result = new Uint8Array(byteLength);
  const view = new DataView(result.buffer);
  let at = 0;
  const advance = (count: number): number => {
    at += count;
    return at - count;
  };
  return {
    result,
    uint16: (value) => view.setUint16(advance(2), value, true),
    uint32: (value) => view.setUint32(advance(4), value, true),
    uint64: (value) => view.setBigUint64(advance(8), BigInt(value), true),
    bytes: (value) => result.set(value, advance(value.byteLength)),
    skip: (count) => {
      advance(count);
    },
  };
}
