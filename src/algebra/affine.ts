/**
 * @file The affine value: what a linear region computes, as a formula over the region's input.
 *
 *     v[n, o, i] = bias[o] + Σ_c Σ_{t ∈ taps} weight[o, c, t] · x₀[n, c, stride·i + t]      0 ≤ i < L(H)
 *
 * x₀ is x continued by zeros. Everything but the numbers is known without reading a weight: stride, taps, *end
 * slack* e (the length is L(H) = ⌊(H − 1 + e) / stride⌋ + 1 for every H), channel support, and how many float32
 * roundings an ordinary fuse would make. The numbers come in float64, a few rows at a time.
 */

import { identitySupport, type Support } from "./support.ts";
import { lastTap, type Taps, taps, unionTaps } from "./taps.ts";
import { describeWeights, ownTerm } from "./terms.ts";

export interface AffineAxis {
  readonly taps: Taps;
  readonly stride: number;
  /** End slack e of the length formula. */
  readonly slack: number;
  /** The region input's length H along this axis where the model fixes it; undefined for any length. */
  readonly size?: number | undefined;
}

/** Float64 numbers and, beside each, the sum of the magnitudes that were added up to make it. */
export interface Bounded {
  readonly values: Float64Array;
  /** Same length; ≥ |values|. The unit of the verdict is 2⁻²⁴ times this. */
  readonly bounds: Float64Array;
}

export interface Affine {
  readonly inC: number;
  readonly outC: number;
  /** One per spatial axis. */
  readonly axes: readonly AffineAxis[];
  readonly support: Support;
  /** Whether the bias is zero by construction. */
  readonly biasIsZero: boolean;
  /** Float32 roundings an ordinary fuse of the same region makes in any one weight or bias (the verdict's k). */
  readonly roundings: { readonly weight: number; readonly bias: number };
  /** True for the region's input itself. */
  readonly isInput: boolean;
  /**
   * Rows `[begin, end)` of the weight, `[end − begin, support.width, ...taps]`. The caller owns the arrays.
   * With `bounds` false the bounds array is empty, which saves half the work.
   */
  weights(begin: number, end: number, bounds: boolean): Promise<Bounded>;
  /** The whole bias, `[outC]`. The caller owns the arrays. */
  biases(): Promise<Bounded>;
}

/** Why a rule cannot be applied exactly. */
export interface Refused {
  readonly refused: string;
}

export function isRefused(value: object): value is Refused {
  return "refused" in value;
}

export const NO_BOUNDS: Float64Array = new Float64Array(0);

/** The region's input: one tap at 0, identity weight, no bias. `sizes` are its spatial lengths where they are fixed. */
export function inputAffine(
  channels: number,
  spatialRank: number,
  sizes: readonly (number | undefined)[] = [],
): Affine {
  return {
    inC: channels,
    outC: channels,
    axes: Array.from({ length: spatialRank }, (_, i) => ({
      taps: taps(0, 0, 1),
      stride: 1,
      slack: 0,
      size: sizes[i],
    })),
    support: identitySupport(channels),
    biasIsZero: true,
    roundings: { weight: 0, bias: 0 },
    isInput: true,
    weights: describeWeights(
      async (begin, end, bounds) => ({
        values: new Float64Array(end - begin).fill(1),
        bounds: bounds ? new Float64Array(end - begin).fill(1) : NO_BOUNDS,
      }),
      [ownTerm(undefined, 1, 1)],
    ),
    biases: async () => ({
      values: new Float64Array(channels),
      bounds: new Float64Array(channels),
    }),
  };
}

/** Taps of one row: the product over the axes. */
export function tapCount(axes: readonly AffineAxis[]): number {
  return axes.reduce((product, axis) => product * axis.taps.count, 1);
}

/** Weights of one row as stored: support width times taps. */
export function rowSize(v: Affine): number {
  return v.support.width * tapCount(v.axes);
}

/**
 * Whether the formula of `v`, read outside the value's domain along one axis, is the constant bias for every
 * input length. At i = −1 the taps reach −stride + max T, which must be < 0; at i = L they reach at least
 * H + slack + min T, which must be ≥ H. Where H is fixed, L is known and stride·L + min T ≥ H says it exactly.
 */
export function isConstantOutside(axis: AffineAxis): boolean {
  if (lastTap(axis.taps) > axis.stride - 1) return false;
  const length = fixedLength(axis);
  return length === undefined
    ? axis.slack + axis.taps.start >= 0
    : axis.stride * length + axis.taps.start >= axis.size!;
}

/** The value's length along an axis whose input length is fixed. */
export function fixedLength(axis: AffineAxis): number | undefined {
  return axis.size === undefined
    ? undefined
    : Math.floor((axis.size - 1 + axis.slack) / axis.stride) + 1;
}

/** Equal lengths for every input length, or for the one the model fixes. */
export function sameLength(a: AffineAxis, b: AffineAxis): boolean {
  if (a.stride !== b.stride) return false;
  if (a.slack === b.slack) return true;
  const length = fixedLength(a);
  return length !== undefined && length === fixedLength(b);
}

/**
 * The axis that values of the same length share. Where slacks differ the lengths are equal only for the fixed input
 * length; then the larger slack says most about what lies behind the end, and both are true.
 */
export function commonAxis(a: AffineAxis, b: AffineAxis): AffineAxis {
  return { ...a, taps: unionTaps(a.taps, b.taps), slack: Math.max(a.slack, b.slack) };
}
