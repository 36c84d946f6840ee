/** @file Byte sources and sinks for tests: one that counts what is read, and a file that stores no zeros. */

import type { ByteSink } from "../../src/core/byte-sink.ts";
import type { ByteSource } from "../../src/core/byte-source.ts";

export interface CountingSource extends ByteSource {
  bytesRead(): number;
  reads(): number;
}

export function countingSource(source: ByteSource): CountingSource {
  let bytes = 0;
  let reads = 0;
  return {
    name: source.name,
    byteLength: source.byteLength,
    slice: (start, end) => {
      bytes += end - start;
      reads++;
      return source.slice(start, end);
    },
    bytesRead: () => bytes,
    reads: () => reads,
  };
}

export interface SparseFile {
  readonly sink: ByteSink;
  /** What was written; `ZEROS` take no memory. */
  source(name: string): ByteSource;
}

/** Written to a `sparseFile`, this chunk takes no memory (64 MiB, longer ones by repetition). */
export const ZEROS: Uint8Array = new Uint8Array(2 ** 26);

/** A file of any size in memory, as long as its bulk is `ZEROS`. */
export function sparseFile(startOffset = 0): SparseFile {
  const parts: { start: number; bytes: Uint8Array }[] = [];
  let length = startOffset;
  return {
    sink: {
      write: async (bytes) => {
        if (bytes.buffer !== ZEROS.buffer) parts.push({ start: length, bytes: bytes.slice() });
        length += bytes.byteLength;
      },
      close: async () => {},
      abort: async () => {},
    },
    source: (name) => ({
      name,
      byteLength: length,
      slice: async (from, to) => {
        const result = new Uint8Array(to - from);
        for (const { start, bytes } of parts) {
          const low = Math.max(from, start);
          const high = Math.min(to, start + bytes.byteLength);
          if (low < high) result.set(bytes.subarray(low - start, high - start), low - from);
        }
        return result;
      },
    }),
  };
}
