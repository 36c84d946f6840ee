/** @file Faults of one branch that change its kernel after folding: moved, scaled, cut, mirrored. */

import { type Affine, type Bounded, tapCount } from "../algebra/affine.ts";
import { shiftTaps } from "../algebra/taps.ts";

/** The kernel moved by whole taps. */
export function shifted(v: Affine, by: readonly number[]): Affine {
  const axes = v.axes.map((axis, i) => ({ ...axis, taps: shiftTaps(axis.taps, by[i] ?? 0) }));
  return { ...v, axes, isInput: false };
}

export function scaled(v: Affine, factor: number): Affine {
  const times = ({ values, bounds }: Bounded): Bounded => ({
    values: values.map((value) => factor * value),
    bounds: bounds.map((bound) => Math.abs(factor) * bound),
  });
  return {
    ...v,
    isInput: false,
    weights: async (begin, end, bounds) => times(await v.weights(begin, end, bounds)),
    biases: async () => times(await v.biases()),
  };
}

/** Rows from `outC / group` on have no kernel; the bias stays. What `fill_diagonal_` makes of a grouped identity. */
export function firstGroupOnly(v: Affine, group: number): Affine {
  const rows = v.outC / group;
  return {
    ...v,
    isInput: false,
    weights: async (begin, end, bounds) => {
      const part = await v.weights(begin, end, bounds);
      const size = part.values.length / (end - begin);
      const from = Math.max(0, rows - begin) * size;
      part.values.fill(0, from);
      if (bounds) part.bounds.fill(0, from);
      return part;
    },
  };
}

/** Taps rearranged: tap `t` of the result is tap `permutation[t]` of `v`. */
export function withTaps(v: Affine, permutation: Int32Array): Affine {
  const taps = tapCount(v.axes);
  const arrange = (from: Float64Array): Float64Array =>
    from.map((_, i) => from[i - (i % taps) + permutation[i % taps]!]!);
  return {
    ...v,
    isInput: false,
    weights: async (begin, end, bounds) => {
      const part = await v.weights(begin, end, bounds);
      return { values: arrange(part.values), bounds: arrange(part.bounds) };
    },
  };
}
