/**
 * @file A found row as a combination of parts, and what rounding may leave of it. A row that is Σ aⱼ·tⱼ and was rounded,
 *
 *     ŵᵢ = Σ aⱼ·tⱼᵢ + eᵢ        |eᵢ| ≤ allowedᵢ = k·(u·Aᵢ + η), and half a step of a narrower grid
 *
 * is fitted with a rest of at most ‖e‖, because a projection lengthens nothing: so a longer rest proves that the row is
 * no combination of these parts. Number i of the fit is off by at most eᵢ and i's reach of ‖e‖, coefficient j by its
 * sensitivity times ‖e‖. Nothing here is chosen.
 */

import { type Fit, spanOf } from "./least-squares.ts";
import type { Tolerance } from "./samples.ts";

/** Numbers and the sums of magnitudes behind them. */
export interface Part {
  readonly values: Float64Array;
  readonly bounds: Float64Array;
}

export interface PartsFit extends Fit {
  /** Whether rounding explains all that is left over. */
  readonly inSpan: boolean;
  /** How far rounding can have moved each coefficient. */
  readonly uncertainty: Float64Array;
  /** Roundings needed by the number that needs most; at most k where rounding explains every number. */
  omega(): number;
}

/**
 * `least` holds bounds that count at least: the block's own. Where parts cannot be told apart their coefficients are
 * not known, and they may cancel.
 */
export function fitParts(
  parts: readonly Part[],
  target: Float64Array,
  tolerance: Tolerance,
  least: Float64Array,
): PartsFit {
  return fitterOf(parts, tolerance, least)(target);
}

/** The same for several targets. */
export function fitterOf(
  parts: readonly Part[],
  tolerance: Tolerance,
  least: Float64Array,
): (target: Float64Array) => PartsFit {
  const span = spanOf(parts.map((part) => part.values));
  return (target) => allowedFit(span.fit(target), parts, target, tolerance, least);
}

function allowedFit(
  fit: Fit,
  parts: readonly Part[],
  target: Float64Array,
  tolerance: Tolerance,
  least: Float64Array,
): PartsFit {
  const { k, unit, floor, gridStep, gridFloor } = tolerance;
  const exact = new Float64Array(target.length);
  const allowed = new Float64Array(target.length);
  let squares = 0;
  for (let i = 0; i < target.length; i++) {
    let [value, bound] = [0, 0];
    for (const [j, part] of parts.entries()) {
      const a = fit.coefficients[j]!;
      if (Number.isNaN(a)) continue;
      value += a * part.values[i]!;
      bound += Math.abs(a) * part.bounds[i]!;
    }
    const sum = Math.max(bound, least[i]!);
    exact[i] = value;
    allowed[i] = k.weight * (unit * sum + floor) + gridStep * Math.abs(value) + gridFloor;
    squares += allowed[i]! ** 2;
  }
  const error = Math.sqrt(squares);
  return {
    ...fit,
    inSpan: fit.rest <= error,
    uncertainty: fit.sensitivity.map((length) => length * error),
    omega: () => {
      let most = 0;
      for (let i = 0; i < target.length; i++) {
        const steps = Math.abs(target[i]! - exact[i]!) / (allowed[i]! + fit.reach(i) * error);
        if (!(steps <= most)) most = steps;
      }
      return most * k.weight;
    },
  };
}

/** Bounds of several parts together. */
export function totalBounds(parts: readonly Part[], length: number): Float64Array {
  const total = new Float64Array(length);
  for (const { bounds } of parts) for (let i = 0; i < length; i++) total[i]! += bounds[i]!;
  return total;
}
