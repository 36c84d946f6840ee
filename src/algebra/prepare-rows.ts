/**
 * @file Rows of a weight whose stored numbers are in memory, so that computing them is synchronous and needs no
 * memory of its own: what conversion and verification do hundreds of millions of times.
 */

import type { Memory } from "../core/memory.ts";
import { type Affine, rowSize, tapCount } from "./affine.ts";
import { type Emission, emittedRows } from "./emit.ts";
import type { ScaledRows } from "./loops/row-loops.ts";
import { rowLoops } from "./loops/row-loops-wasm.ts";
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
  const loops = rowLoops();
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
      const range = { from, to, begin };
      const add = (target: Float64Array, scaledBy: (scaled: ScaledRows) => ScaledRows): void => {
        if (filling < 0) target.fill(0, 0, (to - from) * size);
        for (const [index, term] of loaded.entries()) {
          const scaled = scaledBy(scaledRows(term, range));
          if (!fillsRow(term.term, width, taps)) {
            const at = rowStarts(term.term, range, { size, taps, firstChannel });
            const { positions, width: stored } = term.term;
            loops.addTaps(target, scaled, { at, positions, width: stored, taps });
          } else if (index === 0) loops.fillRows(target, scaled);
          else loops.addRows(target, scaled);
        }
      };
      add(values, (scaled) => scaled);
      // |a·b| is |a|·|b|, rounded alike: the sums of magnitudes are the same sums of other numbers.
      if (bounds) add(bounds, magnitudes);
    },
  };
}

interface RowRange {
  readonly from: number;
  readonly to: number;
  /** The first prepared row. */
  readonly begin: number;
}

function scaledRows({ term, numbers, factors }: LoadedTerm, range: RowRange): ScaledRows {
  const [first, last] = [range.from - range.begin, range.to - range.begin];
  const stored = term.width * term.positions.length;
  return {
    stored: numbers.subarray(first * stored, last * stored),
    factors: factors.subarray(first, last),
  };
}

function magnitudes({ stored, factors }: ScaledRows): ScaledRows {
  return { stored: absolute(stored), factors: absolute(factors) };
}

/** A loop: `map` with a function per number takes ten times as long. */
function absolute<T extends StoredNumbers>(values: T): T {
  const result = values.slice() as T;
  for (let i = 0; i < result.length; i++) result[i] = Math.abs(result[i]!);
  return result;
}

/** Where the stored rows begin among the computed ones, `[to − from]`. */
function rowStarts(
  term: Term,
  { from, to }: RowRange,
  row: { size: number; taps: number; firstChannel: (o: number) => number },
): Int32Array {
  const starts = new Int32Array(to - from);
  for (let o = from; o < to; o++) {
    const channel = row.firstChannel(o) + (term.channelShift?.[o] ?? 0);
    starts[o - from] = (o - from) * row.size + channel * row.taps;
  }
  return starts;
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
