/**
 * @file Concat and selection of output channels: rows of the weight stacked or chosen. Exact, no rounding.
 */

import { tapPositions } from "./add.ts";
import {
  type Affine,
  type Bounded,
  commonAxis,
  NO_BOUNDS,
  type Refused,
  rowSize,
  sameLength,
} from "./affine.ts";
import { supportOfRanges } from "./support.ts";

/** Rows of all parts, one after the other. Allowed when strides and lengths agree. */
export function concatChannels(parts: readonly Affine[]): Affine | Refused {
  const first = parts[0];
  if (!first) return { refused: "a concatenation of nothing" };
  for (const part of parts) {
    const fits =
      part.axes.length === first.axes.length &&
      part.axes.every((axis, i) => sameLength(axis, first.axes[i]!));
    if (!fits) {
      return { refused: "the concatenated values have different strides or output sizes" };
    }
  }
  const axes = first.axes.map((_, i) => parts.map((part) => part.axes[i]!).reduce(commonAxis));
  const offsets = [0];
  for (const part of parts) offsets.push(offsets.at(-1)! + part.outC);
  const starts = new Int32Array(offsets.at(-1)!);
  const ends = new Int32Array(offsets.at(-1)!);
  for (const [index, part] of parts.entries()) {
    starts.set(part.support.start, offsets[index]!);
    const last = part.support.start.map((c) => c + part.support.width - 1);
    ends.set(last, offsets[index]!);
  }
  const support = supportOfRanges(starts, ends, first.inC);
  const stacked: Affine = {
    inC: first.inC,
    outC: offsets.at(-1)!,
    axes,
    support,
    biasIsZero: parts.every((part) => part.biasIsZero),
    roundings: {
      weight: Math.max(...parts.map((part) => part.roundings.weight)),
      bias: Math.max(...parts.map((part) => part.roundings.bias)),
    },
    isInput: false,
    weights: async (begin, end, bounds) => {
      const size = rowSize(stacked);
      const values = new Float64Array((end - begin) * size);
      const limits = bounds ? new Float64Array(values.length) : NO_BOUNDS;
      for (const [index, part] of parts.entries()) {
        const from = Math.max(begin, offsets[index]!);
        const to = Math.min(end, offsets[index + 1]!);
        if (from >= to) continue;
        const rows = await part.weights(from - offsets[index]!, to - offsets[index]!, bounds);
        placeRows(
          part,
          stacked,
          rows,
          { partBegin: from - offsets[index]!, begin: from, end: to },
          {
            values: values.subarray((from - begin) * size),
            bounds: bounds ? limits.subarray((from - begin) * size) : NO_BOUNDS,
          },
        );
      }
      return { values, bounds: limits };
    },
    biases: async () => {
      const all = await Promise.all(parts.map((part) => part.biases()));
      return {
        values: Float64Array.from(all.flatMap((bias) => [...bias.values])),
        bounds: Float64Array.from(all.flatMap((bias) => [...bias.bounds])),
      };
    },
  };
  return stacked;
}

function placeRows(
  part: Affine,
  target: Affine,
  rows: Bounded,
  range: { partBegin: number; begin: number; end: number },
  into: Bounded,
): void {
  const positions = tapPositions(part.axes, target.axes);
  const targetTaps = rowSize(target) / target.support.width;
  let source = 0;
  for (let o = range.begin; o < range.end; o++) {
    const row = (o - range.begin) * rowSize(target);
    const channel =
      part.support.start[range.partBegin + o - range.begin]! - target.support.start[o]!;
    for (let c = 0; c < part.support.width; c++) {
      for (const position of positions) {
        const index = row + (channel + c) * targetTaps + position;
        into.values[index] = rows.values[source]!;
        if (into.bounds.length) into.bounds[index] = rows.bounds[source]!;
        source++;
      }
    }
  }
}

/** Output channels `indices` of `v`, in that order (Slice, Split, Gather on the channel axis). */
export function selectChannels(v: Affine, indices: readonly number[]): Affine | Refused {
  if (indices.some((c) => c < 0 || c >= v.outC)) {
    return { refused: `a channel index lies outside the ${v.outC} channels` };
  }
  const size = rowSize(v);
  return {
    ...v,
    isInput: false,
    outC: indices.length,
    support: {
      start: Int32Array.from(indices, (c) => v.support.start[c]!),
      width: v.support.width,
    },
    weights: async (begin, end, bounds) => {
      const values = new Float64Array((end - begin) * size);
      const limits = bounds ? new Float64Array(values.length) : NO_BOUNDS;
      for (let at = begin; at < end; ) {
        let stop = at + 1;
        while (stop < end && indices[stop] === indices[stop - 1]! + 1) stop++;
        const rows = await v.weights(indices[at]!, indices[stop - 1]! + 1, bounds);
        values.set(rows.values, (at - begin) * size);
        if (bounds) limits.set(rows.bounds, (at - begin) * size);
        at = stop;
      }
      return { values, bounds: limits };
    },
    biases: async () => {
      const bias = await v.biases();
      return {
        values: Float64Array.from(indices, (c) => bias.values[c]!),
        bounds: Float64Array.from(indices, (c) => bias.bounds[c]!),
      };
    },
  };
}
