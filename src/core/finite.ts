/** @file Looking for NaN and infinities without converting: an exponent of all ones is one or the other. */

import type { DType } from "./dtype.ts";
import { bytesOf, isFloatDType } from "./dtype.ts";

/** Index of the first NaN or infinity among float elements; −1 if there is none or the type has none. */
export function firstNonFinite(bytes: Uint8Array, dtype: DType): number {
  if (!isFloatDType(dtype)) return -1;
  if (dtype === "float32") {
    const words = words32(bytes);
    // Nearly always there is none, and a loop without a way out is several times as fast.
    const signed = new Int32Array(words.buffer, words.byteOffset, words.length);
    return hasNonFinite32(signed) ? firstMasked(words, 0x7f800000) : -1;
  }
  if (dtype === "float16") return firstMasked(words16(bytes), 0x7c00);
  if (dtype === "bfloat16") return firstMasked(words16(bytes), 0x7f80);
  const words = words32(bytes);
  for (let i = 1; i < words.length; i += 2) {
    if ((words[i]! & 0x7ff00000) === 0x7ff00000) return (i - 1) / 2;
  }
  return -1;
}

function firstMasked(words: Uint32Array | Uint16Array, mask: number): number {
  for (let i = 0; i < words.length; i++) if ((words[i]! & mask) === mask) return i;
  return -1;
}

/** Whether any exponent is all ones: then adding one to it carries into the sign, and the sum of all signs says so. */
function hasNonFinite32(words: Int32Array): boolean {
  let signs = 0;
  for (let i = 0; i < words.length; i++) signs |= ((words[i]! & 0x7fffffff) + 0x00800000) | 0;
  return signs < 0;
}

function aligned(bytes: Uint8Array, size: number): Uint8Array {
  return bytes.byteOffset % size === 0 ? bytes : bytesOf(new Uint8Array(bytes));
}

function words32(bytes: Uint8Array): Uint32Array {
  const source = aligned(bytes, 4);
  return new Uint32Array(source.buffer, source.byteOffset, source.byteLength / 4);
}

function words16(bytes: Uint8Array): Uint16Array {
  const source = aligned(bytes, 2);
  return new Uint16Array(source.buffer, source.byteOffset, source.byteLength / 2);
}
