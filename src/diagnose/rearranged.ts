/**
 * @file The whole kernel in another order: output or input channels permuted, or the axes stored in another layout.
 * Permutations are found by matching a few numbers of every channel, then proved on all numbers.
 */

import type { Bounded } from "../algebra/affine.ts";
import { elementCount } from "../core/tensor.ts";
import type { Kernel } from "../verify/side.ts";
import type { BlockCertificate } from "../verify/weights.ts";
import { preparedFrom } from "./confirm.ts";
import { isNear, type Tolerance } from "./samples.ts";

export interface Rearrangement {
  readonly cause: "output-channels-permuted" | "input-channels-permuted" | "kernel-layout";
  readonly detail: string;
  readonly evidence: Readonly<Record<string, number | string | readonly number[]>>;
  /** The expected kernel in that order. */
  readonly kernel: Kernel;
}

/** Kernels beyond this are not searched for other layouts, which needs all numbers at once: 256 MiB with bounds. */
const MAX_LAYOUT_ELEMENTS = 2 ** 24;
/** Channels listed in the evidence. */
export const MAX_LISTED = 64;

/** Orders that explain what was sampled; the caller proves them with ω. */
export async function findRearrangements(
  certificate: BlockCertificate,
  tolerance: Tolerance,
): Promise<Rearrangement[]> {
  const { expected, found } = certificate.pair;
  if (!found) return [];
  const results = [
    await outputPermutation(expected, found, tolerance),
    await inputPermutation(expected, found, tolerance),
    ...(await otherLayouts(expected, found, tolerance)),
  ];
  return results.filter((result) => result !== undefined);
}

/** Signature of every row: its first, middle and last numbers and the bias. */
async function outputPermutation(
  expected: Kernel,
  found: Kernel,
  tolerance: Tolerance,
): Promise<Rearrangement | undefined> {
  const outC = expected.shape[0] ?? 0;
  const rowSize = elementCount(expected.shape.slice(1));
  if (!(await biasesCouldMatch(expected, found, tolerance))) return undefined;
  // Four numbers of a filter are those of another by chance with probability (2k / 2²⁴)⁴.
  const positions = [0, Math.floor(rowSize / 3), Math.floor(rowSize / 2), rowSize - 1];
  const [exact, other] = [
    await signatures(expected, positions, rowSize),
    await signatures(found, positions, rowSize),
  ];
  const order = matchOrder(outC, (o, p) =>
    positions.every((_, i) => {
      const at = p * positions.length + i;
      return isNear(
        other.values[o * positions.length + i]!,
        exact.values[at]!,
        exact.bounds[at]!,
        tolerance,
      );
    }),
  );
  if (!order || isIdentity(order)) return undefined;
  const bias = await expected.biases();
  const biases = async (): Promise<Bounded> => ({
    values: Float64Array.from(order, (p) => bias.values[p]!),
    bounds: Float64Array.from(order, (p) => bias.bounds[p]!),
  });
  const rows: Kernel["rows"] = async (begin, end, bounds) => {
    const values = new Float64Array((end - begin) * rowSize);
    const limits = new Float64Array(bounds ? values.length : 0);
    for (let o = begin; o < end; o++) {
      const row = await expected.rows(order[o]!, order[o]! + 1, bounds);
      values.set(row.values, (o - begin) * rowSize);
      if (bounds) limits.set(row.bounds, (o - begin) * rowSize);
    }
    return { values, bounds: limits };
  };
  return {
    cause: "output-channels-permuted",
    detail: describeOrder(order, "filter"),
    evidence: { order: order.slice(0, MAX_LISTED) },
    kernel: { ...expected, rows, biases, prepare: (b, e) => preparedFrom(rows, rowSize, b, e) },
  };
}

/** Whether the biases are the same numbers, in place or in another order: nearly free, and decides nearly always. */
async function biasesCouldMatch(
  expected: Kernel,
  found: Kernel,
  { k, unit, floor, gridStep, gridFloor }: Tolerance,
): Promise<boolean> {
  const exact = await expected.biases();
  const { values } = await found.biases();
  const near = (value: number, at: number): boolean =>
    Math.abs(value - exact.values[at]!) <=
    k.bias * (unit * exact.bounds[at]! + floor) + gridStep * Math.abs(value) + gridFloor;
  if (values.every(near)) return true;
  const order = [...exact.values.keys()].sort((a, b) => exact.values[a]! - exact.values[b]!);
  const sorted = values.slice().sort();
  return order.every((at, i) => near(sorted[i]!, at));
}

async function signatures(
  kernel: Kernel,
  positions: readonly number[],
  rowSize: number,
): Promise<Bounded> {
  const outC = kernel.shape[0] ?? 0;
  const step = Math.max(1, Math.floor(2 ** 18 / Math.max(1, rowSize)));
  const values = new Float64Array(outC * positions.length);
  const bounds = new Float64Array(values.length);
  for (let begin = 0; begin < outC; begin += step) {
    const end = Math.min(outC, begin + step);
    const rows = await kernel.rows(begin, end, true);
    for (let o = begin; o < end; o++) {
      for (const [i, position] of positions.entries()) {
        values[o * positions.length + i] = rows.values[(o - begin) * rowSize + position]!;
        bounds[o * positions.length + i] = rows.bounds[(o - begin) * rowSize + position]!;
      }
    }
  }
  return { values, bounds };
}

/** Compares the columns of a few rows: input channel c of the deploy kernel is input channel order[c] of the exact one. */
async function inputPermutation(
  expected: Kernel,
  found: Kernel,
  tolerance: Tolerance,
): Promise<Rearrangement | undefined> {
  const [outC = 0, width = 0, ...kernelShape] = expected.shape;
  if (width < 2) return undefined;
  const taps = elementCount(kernelShape);
  const rowSize = width * taps;
  const rows = [...new Set([0, Math.floor(outC / 2), outC - 1])];
  const exact = await Promise.all(rows.map((o) => expected.rows(o, o + 1, true)));
  const other = await Promise.all(rows.map((o) => found.rows(o, o + 1, false)));
  const order = matchOrder(width, (c, p) =>
    rows.every((_, r) => {
      for (let t = 0; t < taps; t++) {
        const at = p * taps + t;
        const value = other[r]!.values[c * taps + t]!;
        if (!isNear(value, exact[r]!.values[at]!, exact[r]!.bounds[at]!, tolerance)) return false;
      }
      return true;
    }),
  );
  if (!order || isIdentity(order)) return undefined;
  const permuted: Kernel["rows"] = async (begin, end, bounds) => {
    const part = await expected.rows(begin, end, bounds);
    const arrange = (from: Float64Array): Float64Array =>
      from.map((_, i) => {
        const inside = i % rowSize;
        return from[i - inside + order[Math.floor(inside / taps)]! * taps + (inside % taps)]!;
      });
    return { values: arrange(part.values), bounds: arrange(part.bounds) };
  };
  return {
    cause: "input-channels-permuted",
    detail:
      width === 3 && order.join() === "2,1,0"
        ? "RGB against BGR"
        : describeOrder(order, "input channel"),
    evidence: { order: order.slice(0, MAX_LISTED) },
    kernel: {
      ...expected,
      rows: permuted,
      prepare: (b, e) => preparedFrom(permuted, rowSize, b, e),
    },
  };
}

/** For every item the one it matches; undefined unless every item has exactly one partner of its own. */
export function matchOrder(
  count: number,
  matches: (item: number, partner: number) => boolean,
): number[] | undefined {
  const order: number[] = [];
  const used = new Set<number>();
  for (let item = 0; item < count; item++) {
    let partner = -1;
    // Most channels are where they were.
    if (!used.has(item) && matches(item, item)) partner = item;
    for (let p = 0; partner < 0 && p < count; p++)
      if (!used.has(p) && matches(item, p)) partner = p;
    if (partner < 0) return undefined;
    used.add(partner);
    order.push(partner);
  }
  return order;
}

export function isIdentity(order: readonly number[]): boolean {
  return order.every((p, i) => p === i);
}

export function describeOrder(order: readonly number[], noun: string): string {
  const moved = order.filter((p, i) => p !== i).length;
  const last = order.length - 1;
  if (order.every((p, i) => p === last - i)) return `${noun}s in reverse order`;
  const shift = order[0]!;
  if (order.every((p, i) => p === (i + shift) % order.length))
    return `${noun}s moved round by ${shift}`;
  const first = order.findIndex((p, i) => p !== i);
  return `${moved} ${noun}s moved; ${noun} ${first} is ${order[first]} of the training form`;
}

/** Where the number at `[o, i, tap]` of the deploy kernel stands in the exact one. */
interface LayoutMap {
  readonly name: string;
  readonly words: string;
  source(o: number, i: number, t: number): readonly [number, number, number];
}

function layoutMaps(outC: number, width: number, taps: number): LayoutMap[] {
  const size = outC * width * taps;
  const flat = (o: number, i: number, t: number): number => (o * width + i) * taps + t;
  const maps: LayoutMap[] = [
    {
      name: "HWIO",
      words: "stored as [height, width, in, out] and read as [out, in, height, width]",
      source: (o, i, t) => {
        const f = flat(o, i, t);
        return [f % outC, Math.floor(f / outC) % width, Math.floor(f / (outC * width))];
      },
    },
    {
      name: "OHWI",
      words: "stored as [out, height, width, in] and read as [out, in, height, width]",
      source: (o, i, t) => {
        const f = flat(o, i, t);
        return [Math.floor(f / (width * taps)), f % width, Math.floor(f / width) % taps];
      },
    },
    {
      name: "HWOI",
      words: "stored as [height, width, out, in] and read as [out, in, height, width]",
      source: (o, i, t) => {
        const f = flat(o, i, t);
        return [Math.floor(f / width) % outC, f % width, Math.floor(f / (width * outC))];
      },
    },
    {
      name: "IOHW",
      words: "stored as [in, out, height, width] and read as [out, in, height, width]",
      source: (o, i, t) => {
        const f = flat(o, i, t);
        return [Math.floor(f / taps) % outC, Math.floor(f / (taps * outC)), f % taps];
      },
    },
  ];
  return size <= MAX_LAYOUT_ELEMENTS && width > 1 ? maps : [];
}

async function otherLayouts(
  expected: Kernel,
  found: Kernel,
  tolerance: Tolerance,
): Promise<Rearrangement[]> {
  const [outC = 0, width = 0, ...kernelShape] = expected.shape;
  const taps = elementCount(kernelShape);
  const rowSize = width * taps;
  const results: Rearrangement[] = [];
  const probe = (await found.rows(0, 1, false)).values;
  let all: Promise<Bounded> | undefined;
  for (const map of layoutMaps(outC, width, taps)) {
    if (!(await probeFits(expected, map, probe, width, taps, tolerance))) continue;
    const rows: Kernel["rows"] = async (begin, end) => {
      all ??= expected.rows(0, outC, true);
      const whole = await all;
      const pick = (from: Float64Array): Float64Array =>
        Float64Array.from({ length: (end - begin) * rowSize }, (_, at) => {
          const inside = at % rowSize;
          const [o, i, t] = map.source(
            begin + Math.floor(at / rowSize),
            Math.floor(inside / taps),
            inside % taps,
          );
          return from[(o * width + i) * taps + t]!;
        });
      return { values: pick(whole.values), bounds: pick(whole.bounds) };
    };
    results.push({
      cause: "kernel-layout",
      detail: map.words,
      evidence: { layout: map.name },
      kernel: { ...expected, rows, prepare: (b, e) => preparedFrom(rows, rowSize, b, e) },
    });
  }
  return results;
}

/** Numbers of the first row looked at before all is read: effort alone, the first wrong one decides. */
const PROBES = 24;

async function probeFits(
  expected: Kernel,
  map: LayoutMap,
  probe: Float64Array,
  width: number,
  taps: number,
  tolerance: Tolerance,
): Promise<boolean> {
  const step = Math.max(1, Math.floor(probe.length / PROBES));
  let moved = false;
  for (let at = 1 % probe.length; at < probe.length; at += step) {
    const [o, i, t] = map.source(0, Math.floor(at / taps), at % taps);
    const row = await expected.rows(o, o + 1, true);
    const index = i * taps + t;
    if (o !== 0 || index !== at) moved = true;
    if (!isNear(probe[at]!, row.values[index]!, row.bounds[index]!, tolerance)) return false;
  }
  return moved && width * taps > 1;
}
