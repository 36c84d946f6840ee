/**
 * @file From an affine value back to one convolution: kernel box, strides, pads, dilations, group.
 *
 *     begin pad = −min T        end pad = slack + max T        dilation = the step of the taps
 *
 * A negative pad means that the convolution reads a cropped input; it is reported apart.
 */

import { type Affine, type Bounded, NO_BOUNDS, rowSize, tapCount } from "./affine.ts";
import { largestGroup } from "./support.ts";
import { lastTap } from "./taps.ts";

export interface Emission {
  readonly outC: number;
  readonly inC: number;
  readonly group: number;
  readonly kernelShape: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Non-negative. */
  readonly beginPads: readonly number[];
  readonly endPads: readonly number[];
  /** Input rows and columns to drop first, per axis; all zero for nearly every network. */
  readonly beginCrops: readonly number[];
  readonly endCrops: readonly number[];
}

export function emission(v: Affine): Emission {
  const begin = v.axes.map((axis) => -axis.taps.start);
  const end = v.axes.map((axis) => axis.slack + lastTap(axis.taps));
  return {
    outC: v.outC,
    inC: v.inC,
    group: largestGroup(v.support, v.inC),
    kernelShape: v.axes.map((axis) => axis.taps.count),
    strides: v.axes.map((axis) => axis.stride),
    dilations: v.axes.map((axis) => Math.max(axis.taps.step, 1)),
    beginPads: begin.map((n) => Math.max(n, 0)),
    endPads: end.map((n) => Math.max(n, 0)),
    beginCrops: begin.map((n) => Math.max(-n, 0)),
    endCrops: end.map((n) => Math.max(-n, 0)),
  };
}

/** `[outC, inC/group, ...kernelShape]` */
export function weightShape(e: Emission): number[] {
  return [e.outC, e.inC / e.group, ...e.kernelShape];
}

/** Rows `[begin, end)` of the weight in the convolution's layout, `[end − begin, inC/group, ...kernelShape]`. */
export async function emittedRows(
  v: Affine,
  e: Emission,
  begin: number,
  end: number,
  bounds: boolean,
): Promise<Bounded> {
  const rows = await v.weights(begin, end, bounds);
  const width = e.inC / e.group;
  if (width === v.support.width) return rows;
  const tapsPerChannel = tapCount(v.axes);
  const size = width * tapsPerChannel;
  const from = rowSize(v);
  const values = new Float64Array((end - begin) * size);
  const limits = bounds ? new Float64Array(values.length) : NO_BOUNDS;
  const outPerGroup = e.outC / e.group;
  for (let o = begin; o < end; o++) {
    const block = Math.floor(o / outPerGroup) * width;
    const to = (o - begin) * size + (v.support.start[o]! - block) * tapsPerChannel;
    const source = (o - begin) * from;
    values.set(rows.values.subarray(source, source + from), to);
    if (bounds) limits.set(rows.bounds.subarray(source, source + from), to);
  }
  return { values, bounds: limits };
}
