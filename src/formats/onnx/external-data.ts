/** @file Tensor data outside the model file: which locations we accept. */

import type { ByteSource } from "../../core/byte-source.ts";
import { type ErrorTag, ReparamError } from "../../core/errors.ts";

/** Opens data files beside a model. The host resolves `location` within the model's folder only, links included. */
export interface ExternalFiles {
  /** `location` has passed `assertLocation`. */
  open(location: string): Promise<ByteSource>;
}

/** Bytes of a location; longer paths are no use on any file system. */
const MAX_LOCATION_LENGTH = 1024;

/**
 * Accepts relative paths with forward slashes that stay in their folder on every platform; throws `tag` otherwise.
 * Colons are refused because they make drives, streams and URLs.
 */
export function assertLocation(where: string, location: string, tag: ErrorTag = "bad-data"): void {
  const segments = location.split("/");
  const safe =
    location.length <= MAX_LOCATION_LENGTH &&
    ![...location].some((char) => char === "\\" || char === ":" || char < " ") &&
    segments.every((segment) => segment !== "" && segment !== "..") &&
    segments.at(-1) !== ".";
  if (safe) return;
  throw new ReparamError(tag, {
    where,
    what: `external data location is ${JSON.stringify(location.slice(0, 200))}, expected a relative path inside the model's folder`,
  });
}
