/**
 * @file The elements of a lowered parameter: cast up exactly, laid out, and on request perturbed.
 *
 *     p ↦ p · (1 + unit · ξ),   ξ uniform in [-1, 1)
 *
 * and by at least floor · ξ where the format's subnormal numbers are that far apart.
 *
 * ξ depends on the seed, the parameter's name in the model and the element's index there, and on nothing else: however
 * often and in whatever layout a parameter is used, its elements move alike.
 */

import { decodeFloat64, float32View } from "../core/dtype.ts";
import { elementCount, type LazyTensor } from "../core/tensor.ts";
import type { Parameter } from "./lowering/context.ts";
import { isPlain } from "./lowering/layout.ts";

/** How far each parameter and input may move. */
export interface Perturbation {
  readonly seed: number;
  /** The largest relative move; one float32 rounding is 2^-24. */
  readonly unit: number;
  /** The largest absolute move of an element near 0, which has fewer digits; zeros stay. Default 0. */
  readonly floor?: number;
}

/** The parameter as a float64 tensor in its layout. */
export function parameterTensor(parameter: Parameter, perturbation?: Perturbation): LazyTensor {
  const { layout, value } = parameter;
  const blockSize = isPlain(layout) ? 1 : elementCount(layout.block);
  return {
    dtype: "float64",
    shape: layout.shape,
    read: async (start = 0, end = elementCount(layout.shape)) => {
      // Whole blocks only, since elements do not leave theirs.
      const first = Math.floor(start / blockSize);
      const last = Math.ceil(end / blockSize);
      const source = await readElements(value, first * blockSize, last * blockSize);
      const target = new Float64Array(source.length);
      fillParameter(target, source, parameter, first * blockSize, perturbation);
      const from = start - first * blockSize;
      return new Uint8Array(target.buffer, from * 8, (end - start) * 8);
    },
  };
}

/** Elements `[start, end)` as numbers, without a copy where the dtype allows it. */
export async function readElements(
  value: LazyTensor,
  start = 0,
  end: number = elementCount(value.shape),
): Promise<Float32Array | Float64Array> {
  const bytes = await value.read(start, end);
  return value.dtype === "float32" ? float32View(bytes) : decodeFloat64(bytes, value.dtype);
}

/** Writes the elements of `source` (which start at index `offset` of the parameter) into `target`. */
export function fillParameter(
  target: Float64Array,
  source: Float32Array | Float64Array,
  { source: name, layout }: Parameter,
  offset = 0,
  perturbation?: Perturbation,
): void {
  // Elements in their own order are one block, transposed by nothing.
  const plain = isPlain(layout);
  const block = plain ? [1, 1, source.length] : layout.block;
  const order = plain ? [0, 1, 2] : layout.order;
  const strides = [block[1]! * block[2]!, block[2]!, 1];
  const [n0, n1, n2] = order.map((axis) => block[axis]!) as [number, number, number];
  const [s0, s1, s2] = order.map((axis) => strides[axis]!) as [number, number, number];
  const size = n0 * n1 * n2;
  const { unit = 0, floor = 0 } = perturbation ?? {};
  const key = perturbation ? noiseKey(perturbation.seed, name) : 0;
  let to = 0;
  for (let first = 0; first < source.length; first += size) {
    for (let i = 0; i < n0; i++) {
      for (let j = 0; j < n1; j++) {
        let from = first + i * s0 + j * s1;
        for (let k = 0; k < n2; k++, from += s2) {
          const value = source[from]!;
          target[to++] =
            unit === 0 ? value : value + reach(value, unit, floor) * noise(key, offset + from);
        }
      }
    }
  }
}

/** How far an element may move, with its sign. */
function reach(value: number, unit: number, floor: number): number {
  const relative = value * unit;
  return value !== 0 && Math.abs(relative) < floor ? floor : relative;
}

/** Moves every element of an input. */
export function perturbInput(
  values: Float64Array,
  name: string,
  { seed, unit, floor = 0 }: Perturbation,
): Float64Array {
  const key = noiseKey(seed, `input ${name}`);
  return values.map((value, i) => value + reach(value, unit, floor) * noise(key, i));
}

/** 32 bits from seed and name (FNV-1a, then mixed). */
function noiseKey(seed: number, name: string): number {
  let hash = mix(seed ^ 0x811c9dc5);
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return mix(hash);
}

/** A number in [-1, 1): the counter steps through all 32-bit integers, each is then mixed (Weyl sequence). */
function noise(key: number, index: number): number {
  return mix(Math.imul(index, 0x9e3779b1) + key) / 2147483648;
}

/** A bijection of 32-bit integers that spreads every bit (the finalizer of MurmurHash3). */
function mix(value: number): number {
  let z = value | 0;
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
  return z ^ (z >>> 16);
}
