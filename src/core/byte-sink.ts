/** @file Sequential output of bytes. The file sink writes beside the target and renames on `close`. */

export interface ByteSink {
  /** Appends; the caller may reuse `bytes` after the promise resolves. */
  write(bytes: Uint8Array): Promise<void>;
  /** Makes the output visible under its name (files: flush, then rename). */
  close(): Promise<void>;
  /** Throws everything away. Safe to call at any time, also after `close`. */
  abort(): Promise<void>;
}

export interface MemorySink extends ByteSink {
  /** What was written; call after `close`. */
  bytes(): Uint8Array;
}

export function memorySink(): MemorySink {
  let parts: Uint8Array[] = [];
  return {
    write: async (bytes) => {
      // Not `slice()`: a Node Buffer's shares memory.
      parts.push(new Uint8Array(bytes));
    },
    close: async () => {},
    abort: async () => {
      parts = [];
    },
    bytes: () => concatBytes(parts),
  };
}

/** All parts, one after the other, in new memory. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.byteLength;
  }
  return all;
}
