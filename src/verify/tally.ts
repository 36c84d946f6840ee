/** @file Collects the differences of one tensor, some rows at a time, into its deviation. */

import type { PartDeviation, Unit, Worst } from "./deviation.ts";

export interface Tally {
  /**
   * The first `count` numbers of `exact` and `found`, whole rows, which stand at `offset` of the tensor. `bounds` is
   * called only if some number is farther off than its own rounding.
   */
  add(
    exact: Float64Array,
    found: Float64Array,
    count: number,
    offset: number,
    bounds: () => Float64Array,
  ): void;
  /** The largest ω so far. */
  omega(): number;
  result(): PartDeviation;
}

/** For a tensor of `rows` rows with `rowSize` elements each. */
export function createTally(unit: Unit, rows: number, rowSize: number): Tally {
  const channels = new Float64Array(rows);
  const sums = { maxAbsError: 0, errorSquares: 0, squares: 0 };
  let omega = 0;
  let worst: Worst | undefined;
  /** ω of row elements `[from, to)`, and where it is largest; `ratio` is called for elements above what was seen. */
  const judge = (
    row: number,
    { ratio, at }: RowOmega,
    exact: Float64Array,
    found: Float64Array,
    shift: number,
  ): void => {
    channels[row] = ratio;
    if (!(ratio > omega)) return;
    omega = ratio;
    worst = { index: shift + at, found: found[at]!, expected: exact[at]! };
  };
  return {
    add: (exact, found, count, offset, bounds) => {
      let limits: Float64Array | undefined;
      for (let from = 0; from < count; from += rowSize) {
        const row = (offset + from) / rowSize;
        const to = from + rowSize;
        const near = measureRow(sums, exact, found, from, to, unit.rounding ?? NO_ROUNDING);
        if (near.ratio <= 1) {
          judge(row, near, exact, found, offset);
          continue;
        }
        limits ??= bounds();
        judge(
          row,
          boundedOmega(exact, found, from, to, unit, limits, offset),
          exact,
          found,
          offset,
        );
      }
    },
    omega: () => omega,
    result: () => ({
      omega,
      maxAbsError: sums.maxAbsError,
      relativeL2: sums.errorSquares === 0 ? 0 : Math.sqrt(sums.errorSquares / sums.squares),
      worst,
      channels,
    }),
  };
}

interface Sums {
  /** NaN once a difference was one. */
  maxAbsError: number;
  errorSquares: number;
  squares: number;
}

interface RowOmega {
  readonly ratio: number;
  /** Index of the worst element. */
  readonly at: number;
}

/** No difference is a rounding: the bounds decide. */
const NO_ROUNDING = { relative: 0, floor: 0 };

/** Adds a row to the sums, and gives its ω with |W*| in place of the bound: never too small. */
function measureRow(
  sums: Sums,
  exact: Float64Array,
  found: Float64Array,
  from: number,
  to: number,
  { relative, floor }: { readonly relative: number; readonly floor: number },
): RowOmega {
  measure(exact, found, from, to, relative, floor);
  const [ratio = 0, at = 0, maxAbsError = 0, errorSquares = 0, squares = 0] = measured;
  sums.errorSquares += errorSquares;
  sums.squares += squares;
  // No comparison sees a NaN, but the sum keeps it; and nothing is larger than a NaN.
  if (Number.isNaN(errorSquares)) sums.maxAbsError = Number.NaN;
  else if (maxAbsError > sums.maxAbsError) sums.maxAbsError = maxAbsError;
  return { ratio: Number.isFinite(errorSquares) ? ratio : Number.POSITIVE_INFINITY, at };
}

/** What `measure` found: ω, where, max |error|, Σ error², Σ exact². */
const measured = new Float64Array(5);

/** The loop alone: with anything after it, V8 compiles it anew for every row. */
function measure(
  exact: Float64Array,
  found: Float64Array,
  from: number,
  to: number,
  relative: number,
  floor: number,
): void {
  let maxAbsError = 0;
  let errorSquares = 0;
  let squares = 0;
  let ratio = 0;
  let at = from;
  for (let i = from; i < to; i++) {
    const expected = exact[i]!;
    const difference = found[i]! - expected;
    const error = Math.abs(difference);
    const step = relative * Math.abs(expected) + floor;
    errorSquares += difference * difference;
    squares += expected * expected;
    if (error > maxAbsError) maxAbsError = error;
    // Nearly always false: one division per new maximum.
    if (error > ratio * step) {
      ratio = error / step;
      at = i;
    }
  }
  measured[0] = ratio;
  measured[1] = at;
  measured[2] = maxAbsError;
  measured[3] = errorSquares;
  measured[4] = squares;
}

function boundedOmega(
  exact: Float64Array,
  found: Float64Array,
  from: number,
  to: number,
  unit: Unit,
  bounds: Float64Array,
  offset: number,
): RowOmega {
  let ratio = 0;
  let at = from;
  for (let i = from; i < to; i++) {
    const error = Math.abs(found[i]! - exact[i]!);
    if (error === 0) continue;
    const one = Number.isFinite(error)
      ? error / unit.at(exact[i]!, bounds[i]!, offset + i)
      : Number.POSITIVE_INFINITY;
    if (one > ratio) [ratio, at] = [one, i];
  }
  return { ratio, at };
}
