/** @file Output into a Blob, a few megabytes at a time: the browser may move finished parts out of memory. */

import type { ByteSink } from "../../../src/core/byte-sink.ts";

const PART_BYTES = 8 * 2 ** 20;

export interface BlobSink extends ByteSink {
  /** What was written; call after `close`. */
  blob(): Blob;
}

export function blobSink(): BlobSink {
  let parts: Blob[] = [];
  let pending: Uint8Array<ArrayBuffer>[] = [];
  let pendingBytes = 0;
  const flush = (): void => {
    if (pendingBytes === 0) return;
    parts.push(new Blob(pending));
    pending = [];
    pendingBytes = 0;
  };
  return {
    write: async (bytes) => {
      // The caller may reuse its bytes.
      pending.push(new Uint8Array(bytes));
      pendingBytes += bytes.byteLength;
      if (pendingBytes >= PART_BYTES) flush();
    },
    close: async () => flush(),
    abort: async () => {
      parts = [];
      pending = [];
      pendingBytes = 0;
    },
    blob: () => new Blob(parts, { type: "application/octet-stream" }),
  };
}
