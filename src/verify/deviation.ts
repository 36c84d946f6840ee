/**
 * @file How many float32 roundings explain the difference between a deploy kernel and the exact fused one.
 *
 *     ω = max |Ŵ − W*| / (u·A + η)        u = 2⁻²⁴, A = the sum of the magnitudes that make up W*, η = 2⁻¹⁴⁹
 *
 * A componentwise backward error (Higham, *Accuracy and Stability of Numerical Algorithms*, ch. 7): rounding once
 * gives ω ≤ 1; an ordinary float32 fuse at most the k that the engine counted; anything above is another function.
 *
 * Because A ≥ |W*|, a number within u·|W*| + η of the exact one needs no A: its ω is at most what is found with |W*|
 * instead. So A is computed only where some number of a part of the kernel is farther off than that.
 */

import { rowLoops } from "../algebra/loops/row-loops-wasm.ts";
import { type FloatDType, SMALLEST_SUBNORMAL, UNIT_ROUNDOFF } from "../core/dtype.ts";
import { throwIfAborted } from "../core/errors.ts";
import { withMemories } from "../core/memory.ts";
import { elementCount } from "../core/tensor.ts";
import type { Kernel } from "./side.ts";
import { createTally, type Tally } from "./tally.ts";

export interface Worst {
  /** Flat index into the tensor. */
  readonly index: number;
  readonly found: number;
  readonly expected: number;
}

export interface PartDeviation {
  /**
   * Roundings needed; infinite when a number is not finite. Up to 1 it is an upper bound: relative to the exact number
   * itself, and not to the larger sum of magnitudes behind it.
   */
  readonly omega: number;
  readonly maxAbsError: number;
  /** ‖found − expected‖ / ‖expected‖ */
  readonly relativeL2: number;
  readonly worst: Worst | undefined;
  /** ω of every output channel by itself, `[outC]`. */
  readonly channels: Float64Array;
}

export interface Deviation {
  readonly weight: PartDeviation;
  readonly bias: PartDeviation;
}

/** The size of one allowed step at an exact value with bound A. */
export interface Unit {
  at(expected: number, bound: number, index: number): number;
  /** Set where `at` is relative·A + floor: then values close enough need no bound. */
  readonly rounding?: { readonly relative: number; readonly floor: number };
}

/** One rounding of the format, of everything that was summed up. */
export function roundingUnit(dtype: FloatDType): Unit {
  const relative = UNIT_ROUNDOFF[dtype];
  const floor = SMALLEST_SUBNORMAL[dtype];
  return { at: (_, bound) => relative * bound + floor, rounding: { relative, floor } };
}

/** Numbers read at once, 2 MiB of float32; the next such part is read while one is compared. */
const CHUNK_ELEMENTS = 2 ** 19;
/** Numbers compared at once: a few arrays of 128 KiB, which stay in the processor's cache. */
const BLOCK_ELEMENTS = 2 ** 14;

/** Compares two kernels of equal shape, rows at a time. */
export async function deviation(
  expected: Kernel,
  found: Kernel,
  unit: { readonly weight: Unit; readonly bias: Unit },
  signal?: AbortSignal,
): Promise<Deviation> {
  const outC = expected.shape[0] ?? 0;
  const rowSize = elementCount(expected.shape.slice(1));
  const [exactBias, foundBias] = await Promise.all([expected.biases(), found.biases()]);
  const weight = createTally(unit.weight, outC, rowSize);
  await withMemories(async (memories) => {
    const step = Math.max(1, Math.floor(CHUNK_ELEMENTS / Math.max(rowSize, 1)));
    const prepare = async (begin: number): Promise<Chunk> => {
      const end = Math.min(outC, begin + step);
      // The chunk before is being compared in the other one.
      const memory = memories[(begin / step) % 2]!;
      memory.reset();
      const [exact, other] = await Promise.all([
        expected.prepare(begin, end, memory),
        found.prepare(begin, end, memory),
      ]);
      return { begin, end, exact, other };
    };
    let next = outC > 0 ? prepare(0) : undefined;
    while (next) {
      const chunk = await next;
      throwIfAborted(signal);
      next = chunk.end < outC ? prepare(chunk.end) : undefined;
      // Its failure is reported when its turn comes.
      next?.catch(() => undefined);
      compareChunk(chunk, weight, rowSize);
      if (!Number.isFinite(weight.omega())) await chunk.exact.assertStoredFinite();
    }
  });
  const bias = createTally(unit.bias, outC, 1);
  bias.add(exactBias.values, foundBias.values, { rows: outC, first: 0 }, () => exactBias.bounds);
  return { weight: weight.result(), bias: bias.result() };
}

interface Chunk {
  readonly begin: number;
  readonly end: number;
  readonly exact: Awaited<ReturnType<Kernel["prepare"]>>;
  readonly other: Awaited<ReturnType<Kernel["prepare"]>>;
}

function compareChunk({ begin, end, exact, other }: Chunk, tally: Tally, rowSize: number): void {
  const step = Math.max(1, Math.floor(BLOCK_ELEMENTS / Math.max(rowSize, 1)));
  const most = Math.min(step, end - begin);
  let bounds: Float64Array | undefined;
  for (let from = begin; from < end; from += step) {
    const to = Math.min(end, from + step);
    const { values, found } = rowLoops().block(to - from, rowSize);
    exact.compute(from, to, values, undefined);
    other.compute(from, to, found, undefined);
    tally.add(values, found, { rows: to - from, first: from }, () => {
      bounds ??= new Float64Array(most * rowSize);
      exact.compute(from, to, values, bounds);
      return bounds;
    });
  }
}
