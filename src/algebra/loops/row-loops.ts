/**
 * @file The loops that conversion and verification run over every number of a kernel, a block of rows at a time:
 * scale and add stored float32 rows in float64, round once, measure a difference. This file says what they compute;
 * row-loops-wasm.ts does the same bit for bit, several times as fast, where WebAssembly is to be had.
 */

import type { StoredNumbers } from "../parameter.ts";

export interface RowBlock {
  /** float64, `[rows, rowSize]` each. Of any content. */
  readonly values: Float64Array;
  readonly found: Float64Array;
}

/** Rows of one stored kernel and what they are multiplied by. */
export interface ScaledRows {
  /** `[rows, width, count]`: whole rows, without gaps. */
  readonly stored: StoredNumbers;
  /** `[rows]` */
  readonly factors: Float64Array;
}

/** Where the numbers of a stored row stand in a longer one. */
export interface RowLayout {
  /** First number of every row's channels, `[rows]`: a flat index into the values. */
  readonly at: Int32Array;
  /** Of every stored tap, `[count]`. */
  readonly positions: Int32Array;
  /** Channels stored per row. */
  readonly width: number;
  /** Taps of one channel of the values. */
  readonly taps: number;
}

/** Numbers that `measureRows` gives per row, in this order. */
export const MEASURES = ["ratio", "at", "maxAbsError", "errorSquares", "squares"] as const;

export interface RowLoops {
  /**
   * Two arrays on which the loops need no copy. The next call may give the same memory again, or take it away: use
   * them at once, without waiting for anything.
   */
  block(rows: number, rowSize: number): RowBlock;
  /** `values[r, i] = stored[r, i] · factors[r]` */
  fillRows(values: Float64Array, scaled: ScaledRows): void;
  /** `values[r, i] += stored[r, i] · factors[r]` */
  addRows(values: Float64Array, scaled: ScaledRows): void;
  /** `values[at[r] + c·taps + positions[t]] += stored[r, c, t] · factors[r]` */
  addTaps(values: Float64Array, scaled: ScaledRows, layout: RowLayout): void;
  /** Rounds to the nearest float32 (IEEE 754, ties to even). Index of the first that is not finite then; −1 without. */
  round(values: Float64Array, rounded: Float32Array): number;
  /**
   * The first `rows · rowSize` numbers compared: per row the `MEASURES`. `ratio` is the largest |found − exact| /
   * (relative·|exact| + floor) and `at` its index in the row; a NaN is seen by the sums alone. Holds until the next call.
   */
  measureRows(
    exact: Float64Array,
    found: Float64Array,
    size: { readonly rows: number; readonly rowSize: number },
    step: { readonly relative: number; readonly floor: number },
  ): Float64Array;
}

/** From here on a number rounds to infinity in float32: half a unit of the last place above the largest, 2¹²⁸ − 2¹⁰³. */
export const FLOAT32_OVERFLOW: number = 2 ** 128 - 2 ** 103;

export const plainLoops: RowLoops = {
  block: (rows, rowSize) => ({
    values: new Float64Array(rows * rowSize),
    found: new Float64Array(rows * rowSize),
  }),
  fillRows: (values, { stored, factors }) => {
    const size = stored.length / factors.length;
    for (const [row, factor] of factors.entries()) {
      for (let i = row * size; i < (row + 1) * size; i++) values[i] = stored[i]! * factor;
    }
  },
  addRows: (values, { stored, factors }) => {
    const size = stored.length / factors.length;
    for (const [row, factor] of factors.entries()) {
      for (let i = row * size; i < (row + 1) * size; i++) {
        values[i] = values[i]! + stored[i]! * factor;
      }
    }
  },
  addTaps: (values, { stored, factors }, { at, positions, width, taps }) => {
    const count = positions.length;
    for (const [row, factor] of factors.entries()) {
      const from = row * width * count;
      for (let t = 0; t < count; t++) {
        // One tap of all channels at a time: a loop per channel would cost more than it does for 1×1 kernels.
        let index = at[row]! + positions[t]!;
        for (let source = from + t; source < from + width * count; source += count) {
          values[index] = values[index]! + stored[source]! * factor;
          index += taps;
        }
      }
    }
  },
  round: (values, rounded) => {
    for (let i = 0; i < values.length; i++) rounded[i] = values[i]!;
    return firstOverflow(values);
  },
  measureRows: (exact, found, { rows, rowSize }, step) => {
    const results = new Float64Array(rows * MEASURES.length);
    for (let row = 0; row < rows; row++) {
      measureRow(results, row, { exact, found, from: row * rowSize, rowSize, ...step });
    }
    return results;
  },
};

export function firstOverflow(values: Float64Array): number {
  return values.findIndex((value) => !(Math.abs(value) < FLOAT32_OVERFLOW));
}

interface RowPair {
  readonly exact: Float64Array;
  readonly found: Float64Array;
  readonly from: number;
  readonly rowSize: number;
  readonly relative: number;
  readonly floor: number;
}

/** The loop alone: with anything after it, V8 compiles it anew for every row. */
function measureRow(
  results: Float64Array,
  row: number,
  { exact, found, from, rowSize, relative, floor }: RowPair,
): void {
  let [maxAbsError, ratio, at] = [0, 0, 0];
  // Four sums side by side, as the vector unit makes them, and one for what is left.
  const wide = rowSize - (rowSize % 4);
  const errors = [0, 0, 0, 0, 0];
  const squares = [0, 0, 0, 0, 0];
  for (let i = 0; i < rowSize; i++) {
    const expected = exact[from + i]!;
    const difference = found[from + i]! - expected;
    const error = Math.abs(difference);
    const step = relative * Math.abs(expected) + floor;
    const lane = i < wide ? i % 4 : 4;
    errors[lane] = errors[lane]! + difference * difference;
    squares[lane] = squares[lane]! + expected * expected;
    if (error > maxAbsError) maxAbsError = error;
    // Nearly always false: one division per new maximum.
    if (error > ratio * step) [ratio, at] = [error / step, i];
  }
  results.set([ratio, at, maxAbsError, laneSum(errors), laneSum(squares)], row * MEASURES.length);
}

function laneSum([a = 0, b = 0, c = 0, d = 0, rest = 0]: readonly number[]): number {
  return a + c + (b + d) + rest;
}
