/**
 * @file How an affine value's weight is made, where it is a sum of stored kernels scaled per output channel:
 *
 *     weight[o] = Σ_j factor_j[o] · embed(kernel_j[o])
 *
 * Most multi-branch blocks are of this kind, and then a row needs no more than one pass over its kernels
 * (`prepareRows`). The terms describe a `weights` function, not a value: a value that is derived from another and
 * makes its own weights has none unless it says so, and a value that keeps the function keeps the terms.
 */

import type { Affine } from "./affine.ts";
import type { Parameter } from "./parameter.ts";

export interface Term {
  /** Stored numbers, `[outC, width, ...taps]`; undefined is the identity, a single 1 per row. */
  readonly kernel: Parameter | undefined;
  /** Channels stored per row. */
  readonly width: number;
  /** For every stored tap, in C order, its flat position among the taps of the value; `[taps]`. */
  readonly positions: Int32Array;
  /** How many channels after the value's own first one the stored row begins, `[outC]`; undefined is 0. */
  readonly channelShift: Int32Array | undefined;
  /** Factors to multiply, each `[outC]`. */
  readonly factors: readonly (() => Promise<Float64Array>)[];
}

type Weights = Affine["weights"];

const described = new WeakMap<Weights, readonly Term[]>();

/** Notes that `weights` adds up `terms`; undefined notes nothing. */
export function describeWeights(weights: Weights, terms: readonly Term[] | undefined): Weights {
  if (terms) described.set(weights, terms);
  return weights;
}

/** The terms of a value's weight; undefined when it is made in another way. */
export function termsOf(v: Affine): readonly Term[] | undefined {
  return described.get(v.weights);
}

/** A kernel stored in the value's own layout. */
export function ownTerm(kernel: Parameter | undefined, width: number, taps: number): Term {
  return {
    kernel,
    width,
    positions: Int32Array.from({ length: taps }, (_, t) => t),
    channelShift: undefined,
    factors: [],
  };
}

/** The terms of `v` scaled per channel. */
export function scaledTerms(v: Affine, by: () => Promise<Float64Array>): Term[] | undefined {
  return termsOf(v)?.map((term) => ({ ...term, factors: [...term.factors, by] }));
}

/**
 * The terms of `v` in the layout of a sum that holds it.
 *
 * @param positions flat position among the sum's taps of every tap of `v`
 * @param firstChannel first channel of every row of the sum, `[outC]`
 */
export function embeddedTerms(
  v: Affine,
  positions: Int32Array,
  firstChannel: Int32Array,
): Term[] | undefined {
  const shift = v.support.start.map((channel, o) => channel - firstChannel[o]!);
  const isShifted = shift.some((channels) => channels !== 0);
  return termsOf(v)?.map((term) => ({
    ...term,
    positions: term.positions.map((position) => positions[position]!),
    channelShift: isShifted
      ? shift.map((channels, o) => channels + (term.channelShift?.[o] ?? 0))
      : term.channelShift,
  }));
}
