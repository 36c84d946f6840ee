/** @file Faults of one branch that change its kernel after folding: moved, scaled, cut, mirrored. */

import { type Affine, type Bounded, NO_BOUNDS, tapCount } from "../algebra/affine.ts";
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

/** Input channel c (of each group) is `order[c]` of `v`, whose rows hold all channels of their group. */
export function withInputOrder(v: Affine, order: readonly number[]): Affine {
  const taps = tapCount(v.axes);
  const row = v.support.width * taps;
  const arrange = (from: Float64Array): Float64Array =>
    from.map((_, i) => {
      const inside = i % row;
      return from[i - inside + order[Math.floor(inside / taps)]! * taps + (inside % taps)]!;
    });
  return {
    ...v,
    isInput: false,
    weights: async (begin, end, bounds) => {
      const part = await v.weights(begin, end, bounds);
      return { values: arrange(part.values), bounds: arrange(part.bounds) };
    },
  };
}

/** Output channel o is `order[o]` of `v`. */
export function withOutputOrder(v: Affine, order: readonly number[]): Affine {
  const row = v.support.width * tapCount(v.axes);
  return {
    ...v,
    isInput: false,
    weights: async (begin, end, bounds) => {
      const values = new Float64Array((end - begin) * row);
      const limits = bounds ? new Float64Array(values.length) : NO_BOUNDS;
      for (let o = begin; o < end; o++) {
        const part = await v.weights(order[o]!, order[o]! + 1, bounds);
        values.set(part.values, (o - begin) * row);
        if (bounds) limits.set(part.bounds, (o - begin) * row);
      }
      return { values, bounds: limits };
    },
    biases: async () => {
      const { values, bounds } = await v.biases();
      return {
        values: values.map((_, o) => values[order[o]!]!),
        bounds: bounds.map((_, o) => bounds[order[o]!]!),
      };
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
