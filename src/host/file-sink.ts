/**
 * @file A file on disk as a `ByteSink`: written under a temporary name beside the target, flushed, then renamed.
 * At no moment does the target hold half a file.
 */

import {
  type FileHandle,
  link,
  lstat,
  open,
  realpath,
  rename,
  stat,
  unlink,
} from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { ByteSink } from "../core/byte-sink.ts";
import type { ByteSource } from "../core/byte-source.ts";
import { internalError, ReparamError } from "../core/errors.ts";
import { type FileSource, openFile } from "./file-source.ts";
import { fromOsError, osErrorCode } from "./os-error.ts";
import { registerTemporary, releaseTemporary } from "./temporary-files.ts";

/** Smaller writes are gathered up to this many bytes: one call of the operating system per MiB is noise. */
const BUFFER_BYTES = 2 ** 20;
/** One `write` call, bytes: Node refuses 2^31 and more. */
const MAX_WRITE_BYTES = 2 ** 30;
/** UTF-16 units of the target's name kept in the temporary name: at most 180 bytes of the usual 255. */
const MAX_NAME_UNITS = 60;

export interface FileSinkOptions {
  /** Overwrite an existing file (default false: refuse). */
  readonly force?: boolean;
}

export interface FileSink extends ByteSink {
  /**
   * What was written so far, read back from the disk's file before it has its name; nothing may be written afterwards.
   * Usable until `close` or `abort`. Throws `bad-data` when nothing was written.
   */
  reopen(): Promise<ByteSource>;
  /**
   * Puts what was written on the disk, as `close` does before it gives the file its name. For files that belong
   * together: a full disk then shows before the first of them has its name.
   */
  settle(): Promise<void>;
}

/**
 * Opens `path` for writing. A symbolic link stays a link: the file it leads to is replaced.
 * An overwritten file keeps its permission bits.
 *
 * Throws `cannot-write`: the target exists (without `force`) or is no regular file, its folder is missing or not
 * writable, the disk is full. After any failure, `abort` or the end of the process the temporary file is removed.
 */
export async function createFileSink(
  path: string,
  { force = false }: FileSinkOptions = {},
): Promise<FileSink> {
  const { target, mode } = await resolveTarget(path, force);
  const name = basename(target).slice(0, MAX_NAME_UNITS);
  const temporary = join(dirname(target), `.${name}.${randomSuffix()}.tmp`);
  registerTemporary(temporary);
  let handle: FileHandle;
  try {
    handle = await open(temporary, "wx", 0o666);
  } catch (error) {
    releaseTemporary(temporary);
    throw openError(path, error);
  }
  let state: "open" | "closed" | "aborted" = "open";
  let reader: FileSource | undefined;
  const discard = async (): Promise<void> => {
    if (state !== "open") return;
    state = "aborted";
    await reader?.close().catch(() => undefined);
    // Best effort: the failure that led here is the one to report.
    await handle.close().catch(() => undefined);
    await unlink(temporary).catch(() => undefined);
    releaseTemporary(temporary);
  };
  /** Runs one step; when it fails the temporary file goes and the error says what the disk said. */
  const attempt = async (doing: string, step: () => Promise<void>): Promise<void> => {
    if (state !== "open") throw internalError(path, `${doing} on a sink that is ${state}`);
    try {
      await step();
    } catch (error) {
      await discard();
      throw fromOsError(error, "cannot-write", path, doing);
    }
  };
  let flushing: Promise<void> | undefined;
  let lost: { readonly error: unknown } | undefined;
  /** Not while it is being written: that would slow the writing down by more than it saves. */
  const startFlush = (): void => {
    flushing = handle.datasync().catch((error: unknown) => {
      // Kept for `close`: the system reports a lost write once, a second flush would succeed.
      lost = { error };
    });
  };
  const pending = new Uint8Array(BUFFER_BYTES);
  let pendingBytes = 0;
  const flush = async (): Promise<void> => {
    await writeFully(handle, pending.subarray(0, pendingBytes));
    pendingBytes = 0;
  };
  let settled = false;
  const settle = async (): Promise<void> => {
    if (settled) return;
    await flush();
    await flushing;
    if (lost) throw lost.error;
    await handle.sync();
    settled = true;
  };
  return {
    settle: () => attempt("cannot finish the file", settle),
    reopen: async () => {
      if (state !== "open") throw internalError(path, `reopened a sink that is ${state}`);
      if (reader === undefined) {
        await attempt("cannot write", flush);
        reader = await openFile(temporary);
        // It goes to the disk while it is read back from the system's memory: 440 MiB take 0.2 s.
        startFlush();
      }
      return { name: path, byteLength: reader.byteLength, slice: reader.slice };
    },
    write: (bytes) =>
      attempt("cannot write", async () => {
        if (reader || settled) throw internalError(path, "write after the file was complete");
        if (pendingBytes + bytes.byteLength > BUFFER_BYTES) await flush();
        if (bytes.byteLength >= BUFFER_BYTES) return await writeFully(handle, bytes);
        pending.set(bytes, pendingBytes);
        pendingBytes += bytes.byteLength;
      }),
    close: () =>
      attempt("cannot finish the file", async () => {
        if (mode !== undefined) await handle.chmod(mode);
        await settle();
        await handle.close();
        await reader?.close();
        await publish(temporary, target, force);
        state = "closed";
        releaseTemporary(temporary);
        await syncFolder(dirname(target));
      }),
    abort: discard,
  };
}

/** 12 hexadecimal digits. Not from `node:crypto`, which takes 10 ms to load: a taken name only fails to open. */
function randomSuffix(): string {
  return Math.floor(Math.random() * 2 ** 48)
    .toString(16)
    .padStart(12, "0");
}

async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength) {
    const count = Math.min(MAX_WRITE_BYTES, bytes.byteLength - done);
    done += (await handle.write(bytes, done, count)).bytesWritten;
  }
}

/** The file to replace, links followed; `mode` when it exists already. */
async function resolveTarget(
  path: string,
  force: boolean,
): Promise<{ target: string; mode: number | undefined }> {
  let target = resolve(path);
  try {
    if ((await lstat(target)).isSymbolicLink()) target = await realpath(target);
  } catch (error) {
    if (osErrorCode(error) !== "ENOENT") throw openError(path, error);
    // Either there is no such file, which is what we want, or it is a link whose target is missing.
    await assertNoDanglingLink(path, target);
  }
  const found = await stat(target).catch((error: unknown) => {
    if (osErrorCode(error) === "ENOENT") return undefined;
    throw openError(path, error);
  });
  if (found === undefined) return { target, mode: undefined };
  if (!found.isFile()) {
    const what = found.isDirectory()
      ? "it is a folder, expected a file name"
      : "it is not a regular file";
    throw new ReparamError("cannot-write", { where: path, what, fix: "Choose another name" });
  }
  if (!force) throw existsError(path);
  return { target, mode: found.mode & 0o7777 };
}

async function assertNoDanglingLink(path: string, target: string): Promise<void> {
  const isLink = await lstat(target).then(
    (stats) => stats.isSymbolicLink(),
    () => false,
  );
  if (!isLink) return;
  throw new ReparamError("cannot-write", {
    where: path,
    what: "it is a symbolic link to a file that does not exist",
    fix: "Remove the link or name the file itself",
  });
}

/** Gives the finished file its name; without `force` never over a file that appeared meanwhile. */
async function publish(temporary: string, target: string, force: boolean): Promise<void> {
  if (force) return await rename(temporary, target);
  try {
    // Unlike `rename`, `link` fails when the name is taken, in one step.
    await link(temporary, target);
  } catch (error) {
    if (osErrorCode(error) === "EEXIST") throw existsError(target);
    // The file system has no hard links: the check and the rename are two steps then.
    if (await lstat(target).catch(() => undefined)) throw existsError(target);
    return await rename(temporary, target);
  }
  await unlink(temporary);
}

/** Makes the rename itself durable where the system can open folders (not on Windows). */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    await handle.sync().finally(() => handle.close());
  } catch {
    // The file's content is flushed already; the name follows with the system's next write-back.
  }
}

function existsError(path: string): ReparamError {
  return new ReparamError("cannot-write", {
    where: path,
    what: "the file exists already",
    fix: "Pass --force (force: true) to overwrite it, or choose another name",
  });
}

function openError(path: string, error: unknown): Error {
  if (osErrorCode(error) !== "ENOENT")
    return fromOsError(error, "cannot-write", path, "cannot write");
  return new ReparamError("cannot-write", {
    where: path,
    what: `the folder ${dirname(resolve(path))} does not exist`,
    fix: "Create it first",
    cause: error,
  });
}
