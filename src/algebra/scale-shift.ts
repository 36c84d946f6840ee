/**
 * @file Per-channel scale and shift:  (a·v + c)[o] = (a[o]·weight[o]) ∗ x₀ + (a[o]·bias[o] + c[o]).
 *
 * Batch normalization is the case a = γ/√(σ² + ε), c = β − μ·a. Exact in real arithmetic, for any taps, strides
 * and support: nothing is said about the outside of the domain, so nothing can go wrong there.
 */

import { badData } from "../core/errors.ts";
import type { Affine, Bounded } from "./affine.ts";
import type { Parameter } from "./parameter.ts";
import { describeWeights, scaledTerms } from "./terms.ts";

/** Inference-time batch normalization; every parameter is `[channels]`. */
export interface BatchNorm {
  readonly gamma: Parameter;
  readonly beta: Parameter;
  readonly mean: Parameter;
  readonly variance: Parameter;
  readonly epsilon: number;
}

/**
 * Float32 roundings of γ/√(σ²+ε)·w: σ²+ε 1 and ε itself ½ are halved by the root (¾), the root 1, the quotient 1,
 * the product 1: 3¾, counted as 4.
 */
export const BATCHNORM_WEIGHT_ROUNDINGS = 4;
/** −μ·s (2¾ + 1) plus β (1): 4¾, counted as 5; a bias b that comes in is first joined by b − μ, one more. */
export const BATCHNORM_BIAS_ROUNDINGS = 5;

interface ScaleShift {
  readonly scale: Float64Array;
  readonly shift: Bounded;
}

/** `BatchNormalization(v)` in inference mode. Throws `bad-data` when σ² + ε is not a positive number. */
export function batchNorm(v: Affine, bn: BatchNorm): Affine {
  const factors = memo(() => batchNormFactors(v.outC, bn));
  const parameters = [bn.gamma, bn.beta, bn.mean, bn.variance];
  const computed = parameters.reduce((sum, parameter) => sum + parameter.roundings, 0);
  return scaleShift(v, factors, {
    weight: v.roundings.weight + BATCHNORM_WEIGHT_ROUNDINGS + computed,
    bias: BATCHNORM_BIAS_ROUNDINGS + computed + (v.biasIsZero ? 0 : v.roundings.bias + 1),
  });
}

/** `v · scale`, one rounding per weight. `scale` is `[outC]`. */
export function scale(v: Affine, by: Parameter): Affine {
  const factors = memo(async () => ({
    scale: await by.read(0, v.outC),
    shift: { values: new Float64Array(v.outC), bounds: new Float64Array(v.outC) },
  }));
  const added = 1 + by.roundings;
  return {
    ...scaleShift(v, factors, {
      weight: v.roundings.weight + added,
      bias: v.biasIsZero ? 0 : v.roundings.bias + added,
    }),
    biasIsZero: v.biasIsZero,
  };
}

/** `v · number`; exact and free of roundings for ±1. */
export function negate(v: Affine): Affine {
  return {
    ...v,
    isInput: false,
    weights: async (begin, end, bounds) => {
      const rows = await v.weights(begin, end, bounds);
      return { values: rows.values.map((w) => -w), bounds: rows.bounds };
    },
    biases: async () => {
      const bias = await v.biases();
      return { values: bias.values.map((b) => -b), bounds: bias.bounds };
    },
  };
}

/** `v + shift`. `shift` is `[outC]`; `sign` −1 subtracts it. */
export function shift(v: Affine, by: Parameter, sign: 1 | -1 = 1): Affine {
  return {
    ...v,
    isInput: false,
    biasIsZero: false,
    roundings: {
      weight: v.roundings.weight,
      bias: Math.max(v.biasIsZero ? 0 : v.roundings.bias, by.roundings) + (v.biasIsZero ? 0 : 1),
    },
    biases: async () => {
      const { values, bounds } = await v.biases();
      const added = await by.read(0, v.outC);
      for (let o = 0; o < v.outC; o++) {
        values[o] = values[o]! + sign * added[o]!;
        bounds[o] = bounds[o]! + Math.abs(added[o]!);
      }
      return { values, bounds };
    },
  };
}

/** Digits enough for a message: a float32 epsilon is 0.00001 there, not 0.000009999999747378752. */
function short(value: number): number {
  return Number(value.toPrecision(6));
}

async function batchNormFactors(channels: number, bn: BatchNorm): Promise<ScaleShift> {
  const [gamma, beta, mean, variance] = await Promise.all(
    [bn.gamma, bn.beta, bn.mean, bn.variance].map((p) => p.read(0, channels)),
  );
  const factors = new Float64Array(channels);
  const values = new Float64Array(channels);
  const bounds = new Float64Array(channels);
  for (let o = 0; o < channels; o++) {
    const spread = variance![o]! + bn.epsilon;
    if (!(spread > 0 && spread < Number.POSITIVE_INFINITY)) {
      throw badData(
        `${bn.variance.name}[${o}]`,
        `variance ${short(variance![o]!)} plus epsilon ${short(bn.epsilon)} is ${short(spread)}, expected a finite number above 0`,
        "The checkpoint is damaged, or epsilon is wrong: give the trained one with --eps",
      );
    }
    const s = gamma![o]! / Math.sqrt(spread);
    factors[o] = s;
    values[o] = beta![o]! - mean![o]! * s;
    bounds[o] = Math.abs(beta![o]!) + Math.abs(mean![o]! * s);
  }
  return { scale: factors, shift: { values, bounds } };
}

function scaleShift(
  v: Affine,
  factors: () => Promise<ScaleShift>,
  roundings: Affine["roundings"],
): Affine {
  return {
    ...v,
    isInput: false,
    biasIsZero: false,
    roundings,
    weights: describeWeights(
      async (begin, end, wantBounds) => {
        const { values, bounds } = await v.weights(begin, end, wantBounds);
        const { scale: by } = await factors();
        const size = values.length / (end - begin);
        for (let o = begin, i = 0; o < end; o++) {
          const s = by[o]!;
          const stop = i + size;
          if (wantBounds) {
            const magnitude = Math.abs(s);
            for (let j = i; j < stop; j++) bounds[j] = bounds[j]! * magnitude;
          }
          for (; i < stop; i++) values[i] = values[i]! * s;
        }
        return { values, bounds };
      },
      scaledTerms(v, async () => (await factors()).scale),
    ),
    biases: async () => {
      const { values, bounds } = await v.biases();
      const { scale: by, shift: add } = await factors();
      for (let o = 0; o < v.outC; o++) {
        values[o] = values[o]! * by[o]! + add.values[o]!;
        bounds[o] = bounds[o]! * Math.abs(by[o]!) + add.bounds[o]!;
      }
      return { values, bounds };
    },
  };
}

/** Reads small parameters once, however many row ranges are asked for. */
function memo<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
