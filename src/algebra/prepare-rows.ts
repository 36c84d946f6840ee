/**
 * @file Rows of a weight whose stored numbers are in memory, so that computing them is synchronous and needs no
 * memory of its own: what conversion and verification do hundreds of millions of times.
 */

import type { Memory } from "../core/memory.ts";
import { type Affine, rowSize, tapCount } from "./affine.ts";
import { type Emission, emittedRows } from "./emit.ts";
import { readStored, type StoredNumbers } from "./parameter.ts";
import { type Term, termsOf } from "./terms.ts";

export interface PreparedRows {
  /** Numbers of one row. */
  readonly rowSize: number;
  /**
   * Writes rows `[begin, end)` into `values` from its start on, and the sums of magnitudes into `bounds` unless that
   * is undefined. Both hold at least `(end − begin) · rowSize` numbers.
   */
  compute(begin: number, end: number, values: Float64Array, bounds: Float64Array | undefined): void;
  /** For when a computed number is not finite: throws what reading the stored ones with care throws, if they are to blame. */
  assertStoredFinite(): Promise<void>;
}

export interface PrepareOptions {
  /** Whether bounds may be asked for. Default true. */
  readonly bounds?: boolean | undefined;
  /** Where stored numbers may be read to. They are in use until the prepared rows are no longer needed. */
  readonly memory?: Memory | undefined;
}

/** Loads what rows `[begin, end)` of the weight in the convolution's layout are made of. Same numbers as `emittedRows`. */
export async function prepareRows(
  v: Affine,
  e: Emission,
  begin: number,
  end: number,
  { bounds: wantBounds = true, memory }: PrepareOptions = {},
): Promise<PreparedRows> {
  const terms = termsOf(v);
  if (!terms) return preparedNumbers(v, e, begin, end, wantBounds);
  const width = e.inC / e.group;
  const taps = tapCount(v.axes);
  const size = width * taps;
  const outPerGroup = e.outC / e.group;
  const firstChannel = (o: number): number =>
    v.support.start[o]! - Math.floor(o / outPerGroup) * width;
  const loaded = await Promise.all(terms.map((term) => loadTerm(term, begin, end, memory)));
  // A term that fills the whole row goes first: it needs no zeros under it.
  const filling = loaded.findIndex(({ term }) => fillsRow(term, width, taps));
  if (filling > 0) loaded.unshift(...loaded.splice(filling, 1));
  return {
    rowSize: size,
    assertStoredFinite: async () => {
      await v.weights(begin, end, false);
    },
    compute: (from, to, values, bounds) => {
      if (filling < 0) {
        values.fill(0, 0, (to - from) * size);
        bounds?.fill(0, 0, (to - from) * size);
      }
      for (const [index, { term, numbers, factors }] of loaded.entries()) {
        const stored = term.width * term.positions.length;
        for (let o = from; o < to; o++) {
          const channel = firstChannel(o) + (term.channelShift?.[o] ?? 0);
          const row: RowTask = {
            from: (o - begin) * stored,
            to: (o - from) * size + channel * taps,
            taps,
            factor: factors[o - begin]!,
          };
          if (index === 0 && filling >= 0) fillRow(numbers, stored, row, values, bounds);
          else addRow(numbers, term, row, values, bounds);
        }
      }
    },
  };
}

/** For weights that are made in another way: computed here once, handed out later. */
async function preparedNumbers(
  v: Affine,
  e: Emission,
  begin: number,
  end: number,
  wantBounds: boolean,
): Promise<PreparedRows> {
  const rows = await emittedRows(v, e, begin, end, wantBounds);
  const size = end > begin ? rows.values.length / (end - begin) : rowSize(v);
  return {
    rowSize: size,
    assertStoredFinite: async () => undefined,
    compute: (from, to, values, bounds) => {
      const [first, last] = [(from - begin) * size, (to - begin) * size];
      values.set(rows.values.subarray(first, last));
      bounds?.set(rows.bounds.subarray(first, last));
    },
  };
}

interface LoadedTerm {
  readonly term: Term;
  /** The kernel's rows from the first prepared one on. */
  readonly numbers: StoredNumbers;
  /** Product of all factors, per prepared row. */
  readonly factors: Float64Array;
}

async function loadTerm(
  term: Term,
  begin: number,
  end: number,
  memory: Memory | undefined,
): Promise<LoadedTerm> {
  const { kernel, width, positions } = term;
  const size = width * positions.length;
  const factors = new Float64Array(end - begin).fill(1);
  // Asked for before anything is waited for, so that the file is read in one go.
  const reading =
    kernel && readStored(kernel, begin * size, end * size, memory?.take((end - begin) * size * 4));
  reading?.catch(() => undefined);
  for (const read of term.factors) {
    const by = await read();
    for (let o = begin; o < end; o++) factors[o - begin] = factors[o - begin]! * by[o]!;
  }
  const numbers = (await reading) ?? new Float64Array(end - begin).fill(1);
  return { term, factors, numbers };
}

function fillsRow(term: Term, width: number, taps: number): boolean {
  return (
    term.width === width &&
    term.positions.length === taps &&
    term.positions.every((position, t) => position === t)
  );
}

interface RowTask {
  /** First number in the stored kernel and in the output. */
  readonly from: number;
  readonly to: number;
  /** Taps of one output channel. */
  readonly taps: number;
  readonly factor: number;
}

function fillRow(
  numbers: StoredNumbers,
  count: number,
  { from, to, factor }: RowTask,
  values: Float64Array,
  bounds: Float64Array | undefined,
): void {
  for (let i = 0; i < count; i++) values[to + i] = numbers[from + i]! * factor;
  if (!bounds) return;
  for (let i = 0; i < count; i++) bounds[to + i] = Math.abs(numbers[from + i]! * factor);
}

function addRow(
  numbers: StoredNumbers,
  { positions, width }: Term,
  { from, to, taps, factor }: RowTask,
  values: Float64Array,
  bounds: Float64Array | undefined,
): void {
  const count = positions.length;
  for (let t = 0; t < count; t++) {
    // One tap of all channels at a time: a loop per channel would cost more than it does for 1×1 kernels.
    let index = to + positions[t]!;
    for (let source = from + t; source < from + width * count; source += count) {
      const added = numbers[source]! * factor;
      values[index] = values[index]! + added;
      if (bounds) bounds[index] = bounds[index]! + Math.abs(added);
      index += taps;
    }
  }
}
