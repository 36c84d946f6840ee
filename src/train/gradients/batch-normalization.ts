/**
 * @file BatchNormalization in training mode.
 *
 *     c = x − mean(x),  y = γ · c · r + β        r = 1/√(mean(c²) + ε)
 *     β̄ = Σ ȳ,  γ̄ = r · Σ ȳ·c,  x̄ = γ·r · (ȳ − mean(ȳ) − c · r² · mean(ȳ·c))
 *
 * Means and sums run over all axes but the channel. The variance is computed from the centred values (two passes), so
 * a mean that is large against the spread costs no digits. Written in elementwise operators rather than as one
 * BatchNormalization node: onnxruntime runs that node on one thread.
 */

import type { Emitter } from "../emitter.ts";
import {
  add,
  affine,
  div,
  mul,
  reduceMean,
  reduceSum,
  reshape,
  scale,
  sub,
  unary,
} from "../vocabulary.ts";
import { firstGradient, type GradientRule } from "./rule.ts";

export interface BatchNormForward {
  readonly y: string;
  /** `[channels]` */
  readonly mean: string;
  /** `[channels]`, biased (divided by the count). */
  readonly variance: string;
  /** Elements per channel. */
  readonly count: number;
  readonly gradient: GradientRule;
}

/** Adds the training-mode forward of `x` `[n, channels, ...]`; γ and β are `[channels]`. */
export function batchNormForward(
  e: Emitter,
  x: string,
  gamma: string,
  beta: string,
  epsilon: number,
): BatchNormForward {
  const shape = e.shape(x);
  const channels = shape[1]!;
  const perChannel = shape.map((n, axis) => (axis === 1 ? n : 1));
  const axes = shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
  const count = shape.reduce((product, n, axis) => (axis === 1 ? product : product * n), 1);
  const wide = (value: string): string => reshape(e, value, perChannel);
  const flat = (value: string): string => reshape(e, value, [channels]);

  const mean = reduceMean(e, x, axes);
  const centred = sub(e, x, mean);
  const variance = reduceMean(e, mul(e, centred, centred), axes);
  const deviation = unary(e, "Sqrt", add(e, variance, e.scalar(epsilon)));
  const inverse = div(e, e.scalar(1), deviation);
  const factor = mul(e, wide(gamma), inverse);
  const y = affine(e, centred, flat(factor), beta);

  const gradient: GradientRule = (context) => {
    const dy = firstGradient(context);
    const sumDy = reduceSum(e, dy, axes);
    const sumDyC = reduceSum(e, mul(e, dy, centred), axes);
    const gradientOfX = (): string => {
      // x̄ = a·ȳ + b·c + d, with a, b, d per channel
      const b = mul(e, mul(e, factor, mul(e, inverse, inverse)), scale(e, sumDyC, -1 / count));
      const d = mul(e, factor, scale(e, sumDy, -1 / count));
      return add(e, mul(e, dy, factor), affine(e, centred, flat(b), flat(d)));
    };
    return [
      context.needs(0) ? gradientOfX() : undefined,
      context.needs(1) ? flat(mul(e, sumDyC, inverse)) : undefined,
      context.needs(2) ? flat(sumDy) : undefined,
    ];
  };
  return {
    y,
    mean: flat(mean),
    variance: flat(variance),
    count,
    gradient,
  };
}

/** Inference mode (frozen): y = (x − μ)·γ/√(σ² + ε) + β with constant statistics; only x̄ is asked for. */
export function frozenBatchNormRule(epsilon: number): GradientRule {
  return (context) => {
    const { e, node } = context;
    const [x = "", gamma = "", , , variance = ""] = node.inputs;
    const perChannel = e.shape(x).map((n, axis) => (axis === 1 ? n : 1));
    const deviation = unary(e, "Sqrt", add(e, variance, e.scalar(epsilon)));
    const factor = reshape(e, div(e, gamma, deviation), perChannel);
    return [mul(e, firstGradient(context), factor)];
  };
}
