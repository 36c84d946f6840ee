/** @file Seeded random numbers by position: any range can be read, and the same seed gives the same numbers. */

import { encodeFloat64, type FloatDType } from "../../core/dtype.ts";
import { createRng, type Rng } from "../../core/rng.ts";
import { elementCount, type LazyTensor, type Shape } from "../../core/tensor.ts";

/** Elements per generator: reading a range starts at most one block early. */
const BLOCK_ELEMENTS = 4096;

/** Number `i` is a function of seed, name and `i` alone. `draw` makes one number. */
export function seededNumbers(
  seed: number,
  name: string,
  draw: (rng: Rng) => number,
): (start: number, end: number) => Float64Array {
  return (start, end) => {
    const values = new Float64Array(Math.max(end - start, 0));
    const firstBlock = Math.floor(start / BLOCK_ELEMENTS);
    for (let block = firstBlock; block * BLOCK_ELEMENTS < end; block++) {
      const rng = createRng(hashName(`${name}#${block}`, seed));
      const stop = Math.min(end, (block + 1) * BLOCK_ELEMENTS);
      for (let i = block * BLOCK_ELEMENTS; i < stop; i++) {
        const value = draw(rng);
        if (i >= start) values[i - start] = value;
      }
    }
    return values;
  };
}

/** Independent normal numbers of mean 0 and the given standard deviation. */
export function seededNormal(
  shape: Shape,
  dtype: FloatDType,
  seed: number,
  name: string,
  deviation: number,
): LazyTensor {
  const numbers = seededNumbers(seed, name, (rng) => rng.normal() * deviation);
  return {
    dtype,
    shape,
    read: async (start = 0, end = elementCount(shape)) => encodeFloat64(numbers(start, end), dtype),
  };
}

/** FNV-1a over the name's code units, begun from the seed. */
function hashName(name: string, seed: number): number {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 0x01000193) >>> 0;
  return h;
}
