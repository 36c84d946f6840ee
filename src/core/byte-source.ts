/** @file Random access to bytes: a file, a Blob or memory. */

/** A readable sequence of bytes of known length. `slice` never reads outside `[start, end)`. */
export interface ByteSource {
  /** For messages: a path or a file name. */
  readonly name: string;
  readonly byteLength: number;
  /**
   * Bytes `[start, end)`. The result may be shared memory: callers must not write to it.
   *
   * @param into at least as many bytes, which may be used for the result in place of new memory, or not: who reads
   * hundreds of megabytes in turns gives the same memory again and again
   */
  slice(start: number, end: number, into?: Uint8Array): Promise<Uint8Array>;
}

export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    byteLength: bytes.byteLength,
    slice: async (start, end) => bytes.subarray(start, end),
  };
}

export function blobSource(name: string, blob: Blob): ByteSource {
  return {
    name,
    byteLength: blob.size,
    slice: async (start, end) => new Uint8Array(await blob.slice(start, end).arrayBuffer()),
  };
}
