/**
 * @file The one error class. Text is for people: `where: what was found, what was expected. What to do.`
 * The `tag` is stable and is what code (and the command line's exit code) branches on; messages are not API.
 */

/**
 * What kind of failure it is.
 *
 * - `usage`: the call or its options make no sense.
 * - `bad-data`: the file's content is wrong, hostile or not supported. Retrying does not help.
 * - `refused`: the input is sound, but the request has no exact answer (the reason is in the message).
 * - `ambiguous`: several answers fit; the caller has to choose.
 * - `not-found`: a file or a named thing does not exist.
 * - `cannot-read` / `cannot-write`: the operating system said no.
 * - `aborted`: the caller's `AbortSignal` fired.
 * - `internal`: a bug of ours.
 */
export type ErrorTag =
  | "usage"
  | "bad-data"
  | "refused"
  | "ambiguous"
  | "not-found"
  | "cannot-read"
  | "cannot-write"
  | "aborted"
  | "internal";

export interface ErrorParts {
  /** File, tensor, node or option the error is about, e.g. `model.pth: stage0.rbr_dense.conv.weight`. */
  readonly where: string;
  /** What was found and what was expected, without a final full stop. */
  readonly what: string;
  /** What the user can do, one sentence without a final full stop. */
  readonly fix?: string;
  readonly cause?: unknown;
}

/** Every error this package throws on purpose. */
export class ReparamError extends Error {
  readonly tag: ErrorTag;
  readonly where: string;
  readonly what: string;
  readonly fix: string | undefined;

  constructor(tag: ErrorTag, parts: ErrorParts) {
    // An empty file name or option still has to be seen.
    const where = parts.where === "" ? '""' : parts.where;
    const text = `${where}: ${sentence(parts.what)}${parts.fix ? ` ${sentence(parts.fix)}` : ""}`;
    super(tag === "internal" ? `internal: ${text}` : text, { cause: parts.cause });
    this.name = "ReparamError";
    this.tag = tag;
    this.where = where;
    this.what = parts.what;
    this.fix = parts.fix;
  }
}

/** With a full stop, unless it is a question. */
function sentence(text: string): string {
  return /[.?!]$/.test(text) ? text : `${text}.`;
}

/** Puts the file's name before an error about its content; other errors pass as they are. */
export function inFile(name: string, error: unknown): unknown {
  if (!isReparamError(error, "bad-data") || error.where.startsWith(name)) return error;
  const { where, what, fix, cause } = error;
  return new ReparamError(error.tag, {
    where: `${name}: ${where}`,
    what,
    cause,
    ...(fix && { fix }),
  });
}

/** `result`, its errors as `inFile` words them. */
export async function namingFile<T>(name: string, result: Promise<T>): Promise<T> {
  try {
    return await result;
  } catch (error) {
    throw inFile(name, error);
  }
}

/** Narrows an unknown error, optionally to one tag. */
export function isReparamError(error: unknown, tag?: ErrorTag): error is ReparamError {
  return error instanceof ReparamError && (tag === undefined || error.tag === tag);
}

/** The file is bad: where, what was found and expected, what to do. */
export function badData(where: string, what: string, fix?: string): ReparamError {
  return new ReparamError("bad-data", fix === undefined ? { where, what } : { where, what, fix });
}

/** A bug of ours, never the user's. */
export function internalError(where: string, what: string): ReparamError {
  return new ReparamError("internal", { where, what, fix: "Please report this" });
}

/** Throws `bad-data` unless `found` equals `expected`. */
export function assertShape(
  where: string,
  found: readonly number[],
  expected: readonly number[],
): void {
  if (found.length === expected.length && found.every((n, i) => n === expected[i])) return;
  throw badData(where, `shape is [${found.join(", ")}], expected [${expected.join(", ")}]`);
}

/** Throws `aborted` if the signal has fired. Call between units of work. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new ReparamError("aborted", { where: "reparam", what: "stopped before it was finished" });
  }
}
