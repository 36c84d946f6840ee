/**
 * @file Lazy tensors of seeded pseudo-random numbers.
 *
 * Element i is a function of (seed, name, i) alone, so any range can be read without the elements before it and nothing
 * is kept in memory: a counter-based generator, here two rounds of a 32-bit finalizer keyed by 64 bits of the name's
 * hash. Good enough for weights; not for cryptography or Monte Carlo.
 */

import { bytesOf } from "../../core/dtype.ts";
import { ReparamError } from "../../core/errors.ts";
import { elementCount, type LazyTensor, type Shape } from "../../core/tensor.ts";

/** How elements are distributed: uniform in `[low, high)`, some of them negated. */
export interface ElementRange {
  readonly low: number;
  readonly high: number;
  /** Share of the elements that are negated, in steps of 1/256. Default 0. */
  readonly negative?: number;
}

/** Elements beyond this would reuse counters; no tensor of a real net comes near it. */
const MAX_ELEMENTS = 2 ** 32;

/** A float32 tensor of independent elements in `range`, each made of 24 random bits for the size and 8 for the sign. */
export function seededTensor(
  shape: Shape,
  seed: number,
  name: string,
  range: ElementRange,
): LazyTensor {
  const count = elementCount(shape);
  if (count > MAX_ELEMENTS) {
    const what = `${count} elements, expected at most 2^32`;
    throw new ReparamError("usage", { where: name, what, fix: "Make the net narrower" });
  }
  const key1 = hashName(name, seed);
  const key2 = hashName(name, ~seed ^ 0x5bd1e995);
  const { low, high, negative = 0 } = range;
  const step = (high - low) * 2 ** -24;
  const negated = negative * 256;
  return {
    dtype: "float32",
    shape,
    read: async (start = 0, end = count) => {
      const values = new Float32Array(end - start);
      for (let i = 0; i < values.length; i++) {
        const bits = mix((mix(Math.imul(start + i, 0x9e3779b1) ^ key1) + key2) | 0);
        const size = low + (bits >>> 8) * step;
        values[i] = (bits & 255) < negated ? -size : size;
      }
      return bytesOf(values);
    },
  };
}

/** MurmurHash3's 32-bit finalizer (Appleby, public domain constants): every input bit reaches every output bit. */
function mix(value: number): number {
  let h = value ^ (value >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** FNV-1a over the name's code units, begun from the seed. */
function hashName(name: string, seed: number): number {
  let h = mix(0x811c9dc5 ^ seed);
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193);
  return mix(h);
}
