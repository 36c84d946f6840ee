/**
 * @file What a multi-branch block is made of: branches that read the same input and are added up.
 *
 * A branch is exact beside the dense convolution when its taps lie on taps of that convolution and its stride and end
 * slack are equal (docs/algebra.md, "sum"). A window of the kernel, taps u₀ … u₁ per axis, is such a branch with
 *
 *     begin pad = p − d·u₀        end pad = q − d·(k − 1 − u₁)
 *
 * where a negative pad means that the input is cropped first. Derived from T = {−p + d·u}: the first tap has to stay at
 * −p + d·u₀, and the slack q − d·(k − 1) + p has to stay what it is.
 */

import type { ConvAxis } from "../../algebra/convolve.ts";

/** A convolution without its numbers; pads are numbers (auto_pad is resolved). */
export interface ConvGeometry {
  readonly outC: number;
  readonly inC: number;
  readonly group: number;
  /** One per spatial axis. */
  readonly axes: readonly ConvAxis[];
}

export interface ConvStep extends ConvGeometry {
  readonly op: "conv";
  /** Module key; the weight `[outC, inC/group, ...kernel]` is `<key>.weight`. There is no bias: batch norm follows. */
  readonly key: string;
  readonly start: ConvStart;
}

/**
 * What a weight starts with so that the function is kept (`shares.ts`).
 *
 * - `window`: a share of the target's weights under the branch's window, each of its own tap.
 * - `floor`: one number for all taps: a share of the smallest, times the number of taps (it is averaged afterwards).
 * - `paths`: as `window`, spread over as many inner channels as read one input channel.
 * - `signs`: 1, −1, 1 … one per inner channel.
 * - `identity`: 1 at `[c, c mod inC/group]`, which checkpoints store as the difference to it (zero).
 */
export type ConvStart = "window" | "floor" | "paths" | "signs" | "identity";

export interface BatchNormStep {
  readonly op: "bn";
  readonly key: string;
  readonly channels: number;
  /** Its scale: 1, or where no weight can hold it the share itself, of the middle tap of `[o, o]` or of all taps. */
  readonly scale: "one" | "diagonal" | "floor";
}

export interface AverageStep {
  readonly op: "average";
  readonly channels: number;
  readonly axes: readonly ConvAxis[];
}

export type Step = ConvStep | BatchNormStep | AverageStep;

export interface Branch {
  readonly kind: "dense" | "pointwise" | "identity" | "window" | "average" | "chain";
  /** Rows cut from the input before the first step, per spatial axis. */
  readonly beginCrops: readonly number[];
  readonly endCrops: readonly number[];
  /** The last one is a batch norm. */
  readonly steps: readonly Step[];
  /** Taps of the kernel that the branch covers, per spatial axis. */
  readonly window: readonly TapRange[];
}

/** A branch the block would have had, and why this convolution has none. */
export interface LeftOutBranch {
  readonly branch: string;
  readonly reason: string;
}

/** Taps `first … first + count − 1` of the kernel, along one axis. */
export interface TapRange {
  readonly first: number;
  readonly count: number;
}

/**
 * The tap that a pointwise branch takes: the one that needs the fewest rows padded or cropped (none where the output is
 * as long as the input and a tap stands at 0); of several, the one nearest to the middle.
 */
export function middleTap(axis: ConvAxis): number {
  const { kernel, dilation, beginPad, endPad } = axis;
  const effort = (u: number): number =>
    Math.abs(beginPad - dilation * u) + Math.abs(endPad - dilation * (kernel - 1 - u));
  const offset = (u: number): number => Math.abs(2 * u - (kernel - 1));
  let best = 0;
  for (let u = 1; u < kernel; u++) {
    const gain = effort(best) - effort(u);
    if (gain > 0 || (gain === 0 && offset(u) < offset(best))) best = u;
  }
  return best;
}

/** The axis of a kernel window as pads and crops. */
export function windowAxis(
  axis: ConvAxis,
  { first, count }: TapRange,
): { readonly axis: ConvAxis; readonly beginCrop: number; readonly endCrop: number } {
  const begin = axis.beginPad - axis.dilation * first;
  const end = axis.endPad - axis.dilation * (axis.kernel - first - count);
  return {
    axis: {
      ...axis,
      kernel: count,
      dilation: count === 1 ? 1 : axis.dilation,
      beginPad: Math.max(begin, 0),
      endPad: Math.max(end, 0),
    },
    beginCrop: Math.max(-begin, 0),
    endCrop: Math.max(-end, 0),
  };
}

/** One convolution over a window of the kernel, and its batch norm. */
export function windowBranch(
  geometry: ConvGeometry,
  ranges: readonly TapRange[],
  keys: { readonly conv: string; readonly bn: string },
  kind: Branch["kind"],
): Branch {
  const windows = geometry.axes.map((axis, i) => windowAxis(axis, ranges[i]!));
  const axes = windows.map((window) => window.axis);
  return {
    kind,
    beginCrops: windows.map((window) => window.beginCrop),
    endCrops: windows.map((window) => window.endCrop),
    steps: [
      { ...geometry, op: "conv", key: keys.conv, axes, start: "window" },
      { op: "bn", key: keys.bn, channels: geometry.outC, scale: "one" },
    ],
    window: ranges,
  };
}

export function wholeKernel({ axes }: ConvGeometry): TapRange[] {
  return axes.map((axis) => ({ first: 0, count: axis.kernel }));
}

/** The whole kernel. */
export function denseBranch(
  geometry: ConvGeometry,
  keys: { readonly conv: string; readonly bn: string },
): Branch {
  return windowBranch(geometry, wholeKernel(geometry), keys, "dense");
}

/** One tap, the middle one. */
export function pointwiseBranch(
  geometry: ConvGeometry,
  keys: { readonly conv: string; readonly bn: string },
): Branch {
  const ranges = geometry.axes.map((axis) => ({ first: middleTap(axis), count: 1 }));
  return windowBranch(geometry, ranges, keys, "pointwise");
}

/** The input itself through a batch norm; undefined with the reason where there is no such branch. */
export function identityBranch(geometry: ConvGeometry, bn: string): Branch | string {
  const { inC, outC, axes } = geometry;
  if (inC !== outC) return `${inC} input and ${outC} output channels`;
  if (axes.some((axis) => axis.stride !== 1)) {
    return `stride ${axes.map((axis) => axis.stride).join("×")}`;
  }
  const windows = axes.map((axis) => windowAxis(axis, { first: middleTap(axis), count: 1 }));
  if (windows.some(({ axis }) => axis.beginPad > 0 || axis.endPad > 0)) {
    return "the paddings make the output larger than the input";
  }
  return {
    kind: "identity",
    beginCrops: windows.map((window) => window.beginCrop),
    endCrops: windows.map((window) => window.endCrop),
    steps: [{ op: "bn", key: bn, channels: outC, scale: "diagonal" }],
    window: axes.map((axis) => ({ first: middleTap(axis), count: 1 })),
  };
}
