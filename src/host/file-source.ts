/** @file A file on disk as a `ByteSource`: random access, nothing kept in memory. */

import { fstatSync, readSync, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import type { ByteSource } from "../core/byte-source.ts";
import { badData, internalError, ReparamError } from "../core/errors.ts";
import { fromOsError, osErrorCode } from "./os-error.ts";

/** One `read` call of the operating system, bytes: Node refuses 2^31 and more in one call. */
const MAX_READ_BYTES = 2 ** 30;

/** Shorter reads, bytes, are made at once: a checkpoint has thousands, and handing one to another thread takes longer. */
const MAX_SYNC_READ_BYTES = 2 ** 19;

export interface FileSource extends ByteSource {
  close(): Promise<void>;
}

/**
 * Opens a regular file for reading. The file has to keep its length and modification time while it is open.
 *
 * Throws `not-found` (no such file), `cannot-read` (folder, device, pipe, permission, read error, changed while
 * it was read) and `bad-data` (empty file).
 */
export async function openFile(path: string): Promise<FileSource> {
  let handle: FileHandle;
  try {
    // Looked at before it is opened: opening a pipe without a writer would wait for ever.
    assertRegular(path, await stat(path));
    handle = await open(path, "r");
  } catch (error) {
    throw readError(path, error);
  }
  try {
    const opened = await handle.stat();
    assertRegular(path, opened);
    if (opened.size === 0)
      throw badData(path, "the file is empty", "Was the download or copy complete?");
    return fileSource(path, handle, opened);
  } catch (error) {
    await handle.close();
    throw readError(path, error);
  }
}

function fileSource(path: string, handle: FileHandle, opened: Stats): FileSource {
  let closed = false;
  return {
    name: path,
    byteLength: opened.size,
    slice: async (start, end, into) => {
      if (closed) throw internalError(path, "read after close");
      if (!(start >= 0 && start <= end && end <= opened.size)) {
        throw internalError(path, `bytes ${start} to ${end} of a file of ${opened.size}`);
      }
      try {
        const bytes = await readFully(path, handle, start, end - start, into);
        // Not the asynchronous call: waiting for it takes longer than reading a small tensor.
        assertUnchanged(path, opened, fstatSync(handle.fd));
        return bytes;
      } catch (error) {
        throw readError(path, error);
      }
    },
    close: async () => {
      if (closed) return;
      closed = true;
      await handle.close();
    },
  };
}

async function readFully(
  path: string,
  handle: FileHandle,
  start: number,
  length: number,
  into: Uint8Array | undefined,
): Promise<Uint8Array> {
  const bytes = into && into.byteLength >= length ? into.subarray(0, length) : unsetBytes(length);
  let done = 0;
  while (done < length) {
    const count = Math.min(MAX_READ_BYTES, length - done);
    const bytesRead =
      count <= MAX_SYNC_READ_BYTES
        ? readSync(handle.fd, bytes, done, count, start + done)
        : (await handle.read(bytes, done, count, start + done)).bytesRead;
    if (bytesRead === 0) throw changed(path, `it ended at byte ${start + done}`);
    done += bytesRead;
  }
  return bytes;
}

/** Not zeroed first: every byte is overwritten by the read, or the read fails. */
function unsetBytes(length: number): Uint8Array {
  const pooled = Buffer.allocUnsafeSlow(length);
  return new Uint8Array(pooled.buffer, pooled.byteOffset, length);
}

function assertRegular(path: string, stats: Stats): void {
  if (stats.isFile()) return;
  const kind = stats.isDirectory()
    ? "a folder"
    : stats.isFIFO()
      ? "a pipe"
      : stats.isSocket()
        ? "a socket"
        : "a device";
  throw new ReparamError("cannot-read", {
    where: path,
    what: `it is ${kind}, expected a file`,
    fix: stats.isDirectory() ? "Name a file inside it" : "Save the data to a file first",
  });
}

function assertUnchanged(path: string, before: Stats, now: Stats): void {
  if (now.size !== before.size) {
    throw changed(path, `its size went from ${before.size} to ${now.size} bytes`);
  }
  if (now.mtimeMs !== before.mtimeMs) throw changed(path, "its modification time moved");
}

function changed(path: string, how: string): ReparamError {
  return new ReparamError("cannot-read", {
    where: path,
    what: `the file changed while it was being read: ${how}`,
    fix: "Wait until the program that writes it has finished, then try again",
  });
}

function readError(path: string, error: unknown): Error {
  return osErrorCode(error) === "ENOENT"
    ? new ReparamError("not-found", { where: path, what: "no such file", cause: error })
    : fromOsError(error, "cannot-read", path, "cannot read");
}
