/** @file Plain measures of how far two outputs are apart. Shown, never judged by. */

export interface OutputMetrics {
  /** max |b − a| */
  readonly maxAbsError: number;
  /** ‖b − a‖₂ */
  readonly l2: number;
  /** ‖b − a‖₂ / ‖a‖₂ */
  readonly relativeL2: number;
  /** 20·log₁₀(‖a‖ / ‖b − a‖); infinite when equal. */
  readonly snrDb: number;
  /** Largest |a|. */
  readonly maxAbs: number;
  /** Whether |b − a| ≤ atol everywhere, for the absolute tolerance 1e-8 that the origin's checks use. */
  readonly allclose1e8: boolean;
}

export function outputMetrics(a: ArrayLike<number>, b: ArrayLike<number>): OutputMetrics {
  let maxAbsError = 0;
  let maxAbs = 0;
  let squares = 0;
  let errorSquares = 0;
  for (let i = 0; i < a.length; i++) {
    const error = Math.abs(b[i]! - a[i]!);
    // A NaN on either side has to win, and nothing is larger than a NaN afterwards.
    if (error > maxAbsError || Number.isNaN(error)) maxAbsError = error;
    maxAbs = Math.max(maxAbs, Math.abs(a[i]!));
    squares += a[i]! ** 2;
    errorSquares += error ** 2;
  }
  const l2 = Math.sqrt(errorSquares);
  const length = Math.sqrt(squares);
  return {
    maxAbsError,
    l2,
    relativeL2: l2 === 0 ? 0 : l2 / length,
    snrDb: l2 === 0 ? Number.POSITIVE_INFINITY : 20 * Math.log10(length / l2),
    maxAbs,
    allclose1e8: maxAbsError <= 1e-8,
  };
}

/** Root mean square of b − a. */
export function rms(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (b[i]! - a[i]!) ** 2;
  return a.length === 0 ? 0 : Math.sqrt(sum / a.length);
}

export interface Decisions {
  /** Rows whose largest entry is the same class on both sides, and all rows. */
  readonly agreeing: number;
  readonly total: number;
  /** Smallest distance between the largest and the second largest entry of a row of `a`. */
  readonly smallestMargin: number;
  /** Largest change of one entry. A label can flip only where the margin is below twice this. */
  readonly largestChange: number;
}

/** Top-1 decisions of two outputs of shape `[rows, classes]`; undefined for fewer than two classes. */
export function decisions(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  shape: readonly number[],
): Decisions | undefined {
  const [rows = 0, classes = 0] = shape;
  if (shape.length !== 2 || classes < 2 || rows === 0) return undefined;
  let agreeing = 0;
  let smallestMargin = Number.POSITIVE_INFINITY;
  let largestChange = 0;
  for (let row = 0; row < rows; row++) {
    const [first, second] = topTwo(a, row * classes, classes);
    const [other] = topTwo(b, row * classes, classes);
    if (first === other) agreeing++;
    smallestMargin = Math.min(smallestMargin, a[first]! - a[second]!);
    for (let i = row * classes; i < (row + 1) * classes; i++) {
      largestChange = Math.max(largestChange, Math.abs(b[i]! - a[i]!));
    }
  }
  return { agreeing, total: rows, smallestMargin, largestChange };
}

function topTwo(values: ArrayLike<number>, begin: number, count: number): [number, number] {
  let [first, second] =
    values[begin]! >= values[begin + 1]! ? [begin, begin + 1] : [begin + 1, begin];
  for (let i = begin + 2; i < begin + count; i++) {
    if (values[i]! > values[first]!) [first, second] = [i, first];
    else if (values[i]! > values[second]!) second = i;
  }
  return [first, second];
}
