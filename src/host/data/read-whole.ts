/** @file A data file as a whole, unpacked if it is gzip; with a limit on what it may unpack to. */

import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { badData } from "../../core/errors.ts";
import { openFile } from "../file-source.ts";

const unpack = promisify(gunzip);
/** Bytes in memory per file; MNIST's largest is 47 MB, CIFAR's 154 MB. */
export const MAX_DATA_FILE_BYTES = 1_073_741_824;

/** Throws as `openFile` does, and `bad-data` for a file that is too large or no sound gzip. */
export async function readWhole(path: string): Promise<Uint8Array> {
  const file = await openFile(path);
  try {
    if (file.byteLength > MAX_DATA_FILE_BYTES) {
      throw badData(path, `${file.byteLength} bytes, expected at most ${MAX_DATA_FILE_BYTES}`);
    }
    const bytes = await file.slice(0, file.byteLength);
    if (!(bytes[0] === 0x1f && bytes[1] === 0x8b)) return bytes;
    return await unpack(bytes, { maxOutputLength: MAX_DATA_FILE_BYTES }).catch((cause: unknown) => {
      throw badData(
        path,
        `not a sound gzip file (${cause instanceof Error ? cause.message : cause})`,
      );
    });
  } finally {
    await file.close();
  }
}
