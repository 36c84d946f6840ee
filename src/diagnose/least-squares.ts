/**
 * @file Linear least squares with few unknowns: min ‖Σ aⱼ·columnⱼ − target‖, by modified Gram–Schmidt.
 * A column that lies in the span of the ones before it has no coefficient of its own and is reported as dependent.
 */

export interface Fit {
  /** One per column; NaN for a dependent one (its part is in the columns before it). */
  readonly coefficients: Float64Array;
  /** ‖residual‖ / ‖target‖; 0 for a zero target. */
  readonly residual: number;
  readonly dependent: readonly number[];
}

/** A column shorter than this part of itself after projection is dependent: 2⁻²⁰, far above float64 noise. */
const DEPENDENT = 2 ** -20;

export function leastSquares(columns: readonly Float64Array[], target: Float64Array): Fit {
  const count = columns.length;
  const basis: { q: Float64Array; index: number; r: Float64Array }[] = [];
  const dependent: number[] = [];
  for (const [index, column] of columns.entries()) {
    const q = column.slice();
    const length = norm(q);
    const r = new Float64Array(count);
    // Projected twice: once is not orthogonal enough for nearly dependent columns.
    for (let pass = 0; pass < 2; pass++) {
      for (const [i, other] of basis.entries()) {
        const along = dot(other.q, q);
        r[i] = r[i]! + along;
        subtract(q, other.q, along);
      }
    }
    const rest = norm(q);
    if (rest <= DEPENDENT * length || length === 0) {
      dependent.push(index);
      continue;
    }
    for (let i = 0; i < q.length; i++) q[i] = q[i]! / rest;
    r[basis.length] = rest;
    basis.push({ q, index, r });
  }
  const left = target.slice();
  const along = basis.map(({ q }) => {
    const part = dot(q, left);
    subtract(left, q, part);
    return part;
  });
  // A second look at what is left over keeps the digits that the first subtraction lost.
  for (const [i, { q }] of basis.entries()) {
    const part = dot(q, left);
    along[i] = along[i]! + part;
    subtract(left, q, part);
  }
  const coefficients = new Float64Array(count).fill(Number.NaN);
  for (let i = basis.length - 1; i >= 0; i--) {
    let value = along[i]!;
    for (let j = i + 1; j < basis.length; j++) {
      value -= basis[j]!.r[i]! * coefficients[basis[j]!.index]!;
    }
    coefficients[basis[i]!.index] = value / basis[i]!.r[i]!;
  }
  const size = norm(target);
  return { coefficients, residual: size === 0 ? 0 : norm(left) / size, dependent };
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function norm(a: Float64Array): number {
  return Math.sqrt(dot(a, a));
}

function subtract(from: Float64Array, direction: Float64Array, factor: number): void {
  for (let i = 0; i < from.length; i++) from[i] = from[i]! - factor * direction[i]!;
}
