/**
 * @file Tap offsets along one spatial axis: an arithmetic progression of integers.
 *
 * A padded 3-kernel has {−1, 0, 1}; dilation is the step. Sums need the union of two sets and chained
 * convolutions the sumset {s·t′ + t}; both are widened to the smallest progression that holds them.
 * The added offsets carry structural zeros, so nothing is lost.
 */

/** Offsets `start + step·u` for `0 ≤ u < count`. `step` is 0 when `count` is 1. */
export interface Taps {
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

export function taps(start: number, step: number, count: number): Taps {
  return { start, step: count === 1 ? 0 : step, count };
}

export function lastTap(t: Taps): number {
  return t.start + t.step * (t.count - 1);
}

/** Position of an offset that is known to be in the progression. */
export function tapIndex(t: Taps, offset: number): number {
  return t.step === 0 ? 0 : (offset - t.start) / t.step;
}

function span(start: number, last: number, step: number): Taps {
  return step === 0 ? taps(start, 0, 1) : taps(start, step, (last - start) / step + 1);
}

/** Smallest progression that holds both. */
export function unionTaps(a: Taps, b: Taps): Taps {
  const start = Math.min(a.start, b.start);
  const step = gcd(gcd(a.step, b.step), Math.abs(a.start - b.start));
  return span(start, Math.max(lastTap(a), lastTap(b)), step);
}

/** Smallest progression that holds {stride·t′ + t : t′ ∈ outer, t ∈ inner}. */
export function composeTaps(outer: Taps, inner: Taps, stride: number): Taps {
  const start = stride * outer.start + inner.start;
  const last = stride * lastTap(outer) + lastTap(inner);
  return span(start, last, gcd(stride * outer.step, inner.step));
}

export function shiftTaps(t: Taps, by: number): Taps {
  return { ...t, start: t.start + by };
}

export function sameTaps(a: Taps, b: Taps): boolean {
  return a.start === b.start && a.step === b.step && a.count === b.count;
}

/** Greatest common divisor; gcd(0, n) = n. */
export function gcd(a: number, b: number): number {
  let [x, y] = [Math.abs(a), Math.abs(b)];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}
