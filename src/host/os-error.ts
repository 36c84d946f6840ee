/** @file What the operating system said, in words; and which of our tags it means. */

import { type ErrorTag, ReparamError } from "../core/errors.ts";

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EBUSY: "it is in use",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file system does not allow a file this large",
  EIO: "the device reported an input/output error",
  EISDIR: "it is a folder, expected a file",
  ELOOP: "too many symbolic links, or a link that leads to itself",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long for the file system",
  ENOENT: "no such file or folder",
  ENOSPC: "no space left on the disk",
  ENOTDIR: "a part of the path is a file, expected a folder",
  EPERM: "the operation is not permitted",
  EROFS: "the file system is read-only",
};

const FIXES: Readonly<Record<string, string>> = {
  EACCES: "Check the permissions of the file and of its folder",
  EDQUOT: "Free some space or choose another disk",
  ENOSPC: "Free some space or choose another disk",
  EROFS: "Choose another folder",
};

/** `ENOENT` and the like; undefined for anything that is not an operating system error. */
export function osErrorCode(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}

/** An operating system error as ours. A `ReparamError` passes through unchanged. */
export function fromOsError(error: unknown, tag: ErrorTag, where: string, doing: string): Error {
  if (error instanceof ReparamError) return error;
  const code = osErrorCode(error);
  if (code === undefined) return error instanceof Error ? error : new Error(String(error));
  const what = `${doing}: ${REASONS[code] ?? "the operating system refused"} (${code})`;
  const fix = FIXES[code];
  return new ReparamError(tag, {
    where,
    what,
    cause: error,
    ...(fix === undefined ? {} : { fix }),
  });
}
