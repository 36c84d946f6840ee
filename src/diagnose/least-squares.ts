/**
 * @file Linear least squares with few unknowns: min ‖Σ aⱼ·columnⱼ − target‖, by modified Gram–Schmidt.
 * A column that lies in the span of the ones before it has no coefficient of its own and is reported as dependent.
 */

export interface Fit {
  /** One per column; NaN for a dependent one (its part is in the columns before it). */
  readonly coefficients: Float64Array;
  /** ‖residual‖ / ‖target‖; 0 for a zero target. */
  readonly residual: number;
  /** ‖residual‖ */
  readonly rest: number;
  readonly dependent: readonly number[];
  /** Per column: how far its coefficient moves at most when the target moves by a length of 1; NaN for a dependent one. */
  readonly sensitivity: Float64Array;
  /** How much of a target's length at most shows in number `i` of the fit: √(Σ qᵢ²). */
  reach(i: number): number;
}

/**
 * A column that keeps less than this part of itself after projection is dependent. Targets are float32 kernels: 16
 * roundings, as ordinary blocks make, drown a smaller part, and its coefficient would be known to worse than its own
 * size. (A block that rounds more often has such coefficients too; their sensitivity says so.) The projections
 * themselves are float64, 2⁻⁵³.
 */
const DEPENDENT = 16 * 2 ** -24;

export function leastSquares(columns: readonly Float64Array[], target: Float64Array): Fit {
  return spanOf(columns).fit(target);
}

/** Columns made orthogonal, for several targets. */
export interface Span {
  fit(target: Float64Array): Fit;
}

export function spanOf(columns: readonly Float64Array[]): Span {
  const count = columns.length;
  const basis: BasisVector[] = [];
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
  const sensitivity = sensitivities(basis, count);
  return { fit: (target) => fitOf(basis, target, { count, dependent, sensitivity }) };
}

function fitOf(
  basis: readonly BasisVector[],
  target: Float64Array,
  { count, dependent, sensitivity }: Pick<Fit, "dependent" | "sensitivity"> & { count: number },
): Fit {
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
  const [size, rest] = [norm(target), norm(left)];
  return {
    coefficients,
    residual: size === 0 ? 0 : rest / size,
    rest,
    dependent,
    sensitivity,
    reach: (i) => Math.sqrt(basis.reduce((sum, { q }) => sum + q[i]! ** 2, 0)),
  };
}

interface BasisVector {
  readonly q: Float64Array;
  readonly index: number;
  /** Its column of R. */
  readonly r: Float64Array;
}

/** Coefficients are R⁻¹·Qᵀ·target, and Qᵀ lengthens nothing: the lengths of the rows of R⁻¹. */
function sensitivities(basis: readonly BasisVector[], count: number): Float64Array {
  const lengths = new Float64Array(count).fill(Number.NaN);
  for (const [j, { index }] of basis.entries()) {
    const row = new Float64Array(basis.length);
    for (let i = j; i < basis.length; i++) {
      let value = i === j ? 1 : 0;
      for (let m = j; m < i; m++) value -= row[m]! * basis[i]!.r[m]!;
      row[i] = value / basis[i]!.r[i]!;
    }
    lengths[index] = norm(row);
  }
  return lengths;
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
