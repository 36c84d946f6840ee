/**
 * @file What a branch takes of the target's weights W*: a random share, of the same sign, of each weight that it covers.
 *
 *     K[o,c,t] = share · n · W*[o,c,t]      0 ≤ n < 1 random,  rounded towards zero to a multiple of ulp(W*)
 *
 * So the dense branch keeps the rest, |rest| ≤ |W*|, and no branch is larger than the weight it stands for: the bound A
 * of certificate A is |W*| itself, and fusing back loses nothing that was not lost before. As rest and share are
 * multiples of ulp(W*), both are stored without rounding where W* was (a convolution without batch norm): then the
 * fused weights are the original ones, bit by bit.
 */

import {
  encodeFloat64,
  type FloatDType,
  SMALLEST_SUBNORMAL,
  UNIT_ROUNDOFF,
} from "../../core/dtype.ts";
import { elementCount, type LazyTensor } from "../../core/tensor.ts";
import type { ConvStep, TapRange } from "./branch.ts";
import { seededNumbers } from "./seeded-numbers.ts";
import type { Target, TargetVectors } from "./target.ts";

export interface ShareOptions {
  readonly target: Target;
  readonly vectors: () => Promise<TargetVectors>;
  readonly seed: number;
  /** Largest share, at most 1/(branches): the dense branch keeps at least as much. */
  readonly share: number;
}

/** Filters read at once, in numbers: 2 MiB of float64. */
const CHUNK_NUMBERS = 2 ** 18;

/** A branch's weight `[outC, inC/group, ...kernel]` as shares of the target's. */
export function shareTensor(
  step: ConvStep,
  window: readonly TapRange[],
  options: ShareOptions,
): LazyTensor {
  const { target } = options;
  const { dtype } = target;
  const perGroup = step.inC / step.group;
  const shape = [step.outC, perGroup, ...step.axes.map((axis) => axis.kernel)];
  const rowSize = elementCount(shape.slice(1));
  return {
    dtype,
    shape,
    read: async (start = 0, end = elementCount(shape)) => {
      if (end <= start) return new Uint8Array(0);
      const first = Math.floor(start / rowSize);
      const last = Math.ceil(end / rowSize);
      const rows = await shareRows(step, window, options, { first, last });
      return encodeFloat64(rows.subarray(start - first * rowSize, end - first * rowSize), dtype);
    },
  };
}

async function shareRows(
  { key, start, inC, group }: ConvStep,
  window: readonly TapRange[],
  { target, vectors, seed, share }: ShareOptions,
  { first, last }: { readonly first: number; readonly last: number },
): Promise<Float64Array> {
  const { dtype } = target;
  const perGroup = target.geometry.inC / target.geometry.group;
  const taps = tapsOf(target);
  const whole = await effectiveRows(target, vectors, first, last);
  const picked = pickTaps(target, window);
  // One input channel is read through so many inner ones.
  const paths = start === "paths" ? inC / group / perGroup : 1;
  const perChannel = start === "floor" ? 1 : picked.length;
  const rowSize = perGroup * paths * perChannel;
  const random = seededNumbers(seed, `${target.name}.${key}`, (rng) => rng.next());
  const n = random(first * rowSize, last * rowSize);
  const values = new Float64Array((last - first) * rowSize);
  let at = 0;
  for (let row = 0; row < last - first; row++) {
    for (let c = 0; c < perGroup; c++) {
      const base = (row * perGroup + c) * taps;
      if (start === "floor") {
        const least = smallest(whole, base, taps);
        // Its sign is free: the taps it is spread over have signs of their own.
        values[at] = taps * shareOf(least, share * Math.abs(2 * n[at]! - 1), dtype);
        if (n[at]! < 0.5) values[at] = -values[at]!;
        at++;
        continue;
      }
      for (let path = 0; path < paths; path++) {
        const sign = path % 2 === 0 ? 1 : -1;
        for (const tap of picked) {
          values[at] = sign * shareOf(whole[base + tap]!, (share * n[at]!) / paths, dtype);
          at++;
        }
      }
    }
  }
  return values;
}

/** Shares of the middle tap of `[o, o]`, `[outC]`: what an identity branch's batch norm scales with. */
export async function diagonalShares(
  key: string,
  window: readonly TapRange[],
  options: ShareOptions,
): Promise<Float64Array> {
  const { outC, inC, group } = options.target.geometry;
  const perGroup = inC / group;
  const [tap = 0] = pickTaps(options.target, window);
  const taps = tapsOf(options.target);
  return sharesByRow(key, options, outC, (row, o) => row[(o % perGroup) * taps + tap]!);
}

/** Shares of the smallest tap times the number of taps, `[outC]`, for filters of one input channel that are averaged. */
export async function floorShares(key: string, options: ShareOptions): Promise<Float64Array> {
  const taps = tapsOf(options.target);
  const shares = await sharesByRow(key, options, options.target.geometry.outC, (row) =>
    smallest(row, 0, taps),
  );
  return shares.map((value) => value * taps);
}

async function sharesByRow(
  key: string,
  { target, vectors, seed, share }: ShareOptions,
  outC: number,
  pick: (row: Float64Array, o: number) => number,
): Promise<Float64Array> {
  const n = seededNumbers(seed, `${target.name}.${key}`, (rng) => rng.next())(0, outC);
  const result = new Float64Array(outC);
  await eachFilter(target, vectors, (row, o) => {
    result[o] = shareOf(pick(row, o), share * n[o]!, target.dtype);
  });
  return result;
}

/** What part of each filter's squares lies under a window, `[outC]`; 0 for a filter of zeros. */
export async function windowEnergy(
  window: readonly TapRange[],
  { target, vectors }: ShareOptions,
): Promise<Float64Array> {
  const picked = new Set(pickTaps(target, window));
  const taps = tapsOf(target);
  const result = new Float64Array(target.geometry.outC);
  await eachFilter(target, vectors, (row, o) => {
    let [inside, all] = [0, 0];
    for (const [i, w] of row.entries()) {
      all += w * w;
      if (picked.has(i % taps)) inside += w * w;
    }
    result[o] = all === 0 ? 0 : inside / all;
  });
  return result;
}

async function eachFilter(
  target: Target,
  vectors: ShareOptions["vectors"],
  visit: (row: Float64Array, o: number) => void,
): Promise<void> {
  const { outC } = target.geometry;
  const size = target.weight.length / outC;
  const step = Math.max(1, Math.floor(CHUNK_NUMBERS / size));
  for (let begin = 0; begin < outC; begin += step) {
    const end = Math.min(outC, begin + step);
    const rows = await effectiveRows(target, vectors, begin, end);
    for (let o = begin; o < end; o++) {
      visit(rows.subarray((o - begin) * size, (o - begin + 1) * size), o);
    }
  }
}

/** Rows `[first, last)` of W*. */
async function effectiveRows(
  { weight, geometry }: Target,
  vectors: ShareOptions["vectors"],
  first: number,
  last: number,
): Promise<Float64Array> {
  const size = weight.length / geometry.outC;
  const rows = await weight.read(first * size, last * size);
  const { scale } = await vectors();
  for (const [i, w] of rows.entries()) rows[i] = w * scale[first + Math.floor(i / size)]!;
  return rows;
}

/** Flat positions, among a filter's taps in C order, of those under a window. */
function pickTaps({ geometry }: Target, window: readonly TapRange[]): number[] {
  let positions = [0];
  for (const [i, { kernel }] of geometry.axes.entries()) {
    const { first, count } = window[i]!;
    positions = positions.flatMap((at) =>
      Array.from({ length: count }, (_, u) => at * kernel + first + u),
    );
  }
  return positions;
}

function tapsOf({ geometry }: Target): number {
  return geometry.axes.reduce((product, axis) => product * axis.kernel, 1);
}

function smallest(values: Float64Array, start: number, count: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = start; i < start + count; i++) least = Math.min(least, Math.abs(values[i]!));
  return least;
}

/** `part · w`, towards zero on the grid of the format's numbers of w's size. */
function shareOf(w: number, part: number, dtype: FloatDType): number {
  const size = Math.abs(w);
  if (!(size > 0) || !Number.isFinite(size)) return 0;
  const unit = 2 * UNIT_ROUNDOFF[dtype];
  const grid = Math.max(powerBelow(size) * unit, SMALLEST_SUBNORMAL[dtype]);
  return Math.sign(w) * Math.floor((size * part) / grid) * grid;
}

/** The largest power of 2 that is not larger. */
function powerBelow(size: number): number {
  const power = 2 ** Math.floor(Math.log2(size));
  if (power > size) return power / 2;
  return power * 2 <= size ? power * 2 : power;
}
