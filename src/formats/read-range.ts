/** @file Bounds-checked reads: no position from a file reaches a `ByteSource` unchecked. */

import type { ByteSource } from "../core/byte-source.ts";
import { badData } from "../core/errors.ts";

const CUT_OFF = "The file is probably cut off or damaged; fetch it again";

/**
 * Bytes `[start, end)` of `source`, exactly that many.
 *
 * @param what names the range in the error, e.g. `"central directory"`
 * @throws bad-data when the range is not inside the source
 */
export async function readRange(
  source: ByteSource,
  start: number,
  end: number,
  what: string,
  into?: Uint8Array,
): Promise<Uint8Array> {
  assertRange(source, start, end, what);
  if (start === end) return new Uint8Array(0);
  const bytes = await source.slice(start, end, into);
  if (bytes.byteLength !== end - start) {
    throw badData(
      `${source.name}: ${what}`,
      `${bytes.byteLength} bytes came back, expected ${end - start}`,
      "The file changed while it was read; try again",
    );
  }
  return bytes;
}

/** Throws `bad-data` unless `0 <= start <= end <= source.byteLength`, in exact integers. */
export function assertRange(
  source: Pick<ByteSource, "name" | "byteLength">,
  start: number,
  end: number,
  what: string,
): void {
  const sound =
    Number.isSafeInteger(start) &&
    Number.isSafeInteger(end) &&
    start >= 0 &&
    start <= end &&
    end <= source.byteLength;
  if (!sound) {
    throw badData(
      `${source.name}: ${what}`,
      `at bytes ${start} to ${end}, expected inside the file's ${source.byteLength} bytes`,
      CUT_OFF,
    );
  }
}

/** The part `[start, end)` of a source as a source of its own. The caller has checked the range. */
export function subSource(source: ByteSource, start: number, end: number): ByteSource {
  return {
    name: source.name,
    byteLength: end - start,
    slice: (from, to, into) => source.slice(start + from, start + to, into),
  };
}
