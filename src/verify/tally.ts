/** @file Collects the differences of one tensor, some rows at a time, into its deviation. */

import { MEASURES } from "../algebra/loops/row-loops.ts";
import { rowLoops } from "../algebra/loops/row-loops-wasm.ts";
import type { PartDeviation, Unit, Worst } from "./deviation.ts";

export interface Tally {
  /**
   * Whole rows from the start of `exact` and `found`, which are those from `first` on in the tensor. `bounds` is called
   * only if some number is farther off than its own rounding.
   */
  add(
    exact: Float64Array,
    found: Float64Array,
    span: { readonly rows: number; readonly first: number },
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
  /** ω of a row, and where it is largest. */
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
    add: (exact, found, span, bounds) => {
      const size = { rows: span.rows, rowSize };
      const measured = rowLoops().measureRows(exact, found, size, unit.rounding ?? NO_ROUNDING);
      let limits: Float64Array | undefined;
      for (let i = 0; i < span.rows; i++) {
        const [from, to] = [i * rowSize, (i + 1) * rowSize];
        const offset = span.first * rowSize;
        const near = rowOmega(sums, measured.subarray(i * MEASURES.length), from);
        if (near.ratio > 1) limits ??= bounds();
        const row =
          near.ratio > 1 ? boundedOmega(exact, found, from, to, unit, limits!, offset) : near;
        judge(span.first + i, row, exact, found, offset);
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

/** Adds what was measured of a row to the sums, and gives its ω with |W*| in place of the bound: never too small. */
function rowOmega(sums: Sums, measured: Float64Array, from: number): RowOmega {
  const [ratio = 0, at = 0, maxAbsError = 0, errorSquares = 0, squares = 0] = measured;
  sums.errorSquares += errorSquares;
  sums.squares += squares;
  // No comparison sees a NaN, but the sum keeps it; and nothing is larger than a NaN.
  if (Number.isNaN(errorSquares)) sums.maxAbsError = Number.NaN;
  else if (maxAbsError > sums.maxAbsError) sums.maxAbsError = maxAbsError;
  return {
    ratio: Number.isFinite(errorSquares) ? ratio : Number.POSITIVE_INFINITY,
    at: from + at,
  };
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
