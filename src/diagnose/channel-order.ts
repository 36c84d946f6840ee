/**
 * @file Channels in another order, of the whole kernel or of one branch beside the others. What the deploy kernel holds
 * beyond the others is matched channel by channel at a few numbers; the caller proves the order on all of them.
 */

import { type Bounded, NO_BOUNDS } from "../algebra/affine.ts";
import type { Kernel } from "../verify/side.ts";
import type { Tolerance } from "./samples.ts";

export interface ChannelOrder {
  readonly axis: "input" | "output";
  /** Channel c is channel `order[c]` of the training form. */
  readonly order: readonly number[];
}

/** What may be in another order, and what is added to it. */
export interface Subject {
  readonly outC: number;
  /** Input channels per group. */
  readonly width: number;
  readonly taps: number;
  /** Row `o` in the deploy kernel's layout. */
  row(o: number): Promise<Bounded>;
  biases(): Promise<Bounded>;
  /** Row `o` and the biases of all others. */
  otherRow?(o: number): Promise<Bounded>;
  otherBiases?(): Promise<Bounded>;
  /** What the sum is multiplied by afterwards. */
  readonly scale?: Float64Array;
}

/** Channels listed in the evidence. */
export const MAX_LISTED = 64;

/** Orders other than the right one that explain what is looked at. */
export async function* findOrders(
  subject: Subject,
  found: Kernel,
  tolerance: Tolerance,
): AsyncGenerator<ChannelOrder> {
  for (const axis of ["output", "input"] as const) {
    const find = axis === "input" ? inputOrder : outputOrder;
    const order = await find(subject, found, tolerance);
    if (order?.some((p, i) => p !== i)) yield { axis, order };
  }
}

/** Whether number `at` of the deploy kernel could be the subject's number `from`. */
type Fits = (at: number, from: Bounded, source: number) => boolean;

function fitsOf(
  found: Float64Array,
  others: Bounded | undefined,
  k: number,
  { unit, floor, gridStep, gridFloor }: Tolerance,
  scaleAt: (at: number) => number,
): Fits {
  return (at, { values, bounds }, source) => {
    const scale = scaleAt(at);
    const exact = scale * (values[source]! + (others?.values[at] ?? 0));
    const bound = Math.abs(scale) * (bounds[source]! + (others?.bounds[at] ?? 0));
    const step = k * (unit * bound + floor) + gridStep * Math.abs(exact) + gridFloor;
    return Math.abs(found[at]! - exact) <= step;
  };
}

async function rowFits(
  subject: Subject,
  found: Kernel,
  tolerance: Tolerance,
  o: number,
): Promise<Fits> {
  const { values } = await found.rows(o, o + 1, false);
  const scale = subject.scale?.[o] ?? 1;
  return fitsOf(values, await subject.otherRow?.(o), tolerance.k.weight, tolerance, () => scale);
}

/** From three rows: one nearly always says that there is no order, three nearly always tell channels apart. */
async function inputOrder(
  subject: Subject,
  found: Kernel,
  tolerance: Tolerance,
): Promise<number[] | undefined> {
  const { outC, width, taps } = subject;
  const rows: { readonly fits: Fits; readonly own: Bounded }[] = [];
  let order: number[] | undefined;
  for (const o of width < 2 ? [] : new Set([0, Math.floor(outC / 2), outC - 1])) {
    rows.push({ fits: await rowFits(subject, found, tolerance, o), own: await subject.row(o) });
    order = matchOrder(width, (c, p) =>
      rows.every(({ fits, own }) => {
        for (let t = 0; t < taps; t++) if (!fits(c * taps + t, own, p * taps + t)) return false;
        return true;
      }),
    );
    if (!order) return undefined;
  }
  return order;
}

/** From the biases, which nearly always decide, in place or not; then four numbers of every filter. */
async function outputOrder(
  subject: Subject,
  found: Kernel,
  tolerance: Tolerance,
): Promise<number[] | undefined> {
  const { outC, width, taps, scale } = subject;
  const bias = await subject.biases();
  const { values } = await found.biases();
  const others = await subject.otherBiases?.();
  const biasFits = fitsOf(values, others, tolerance.k.bias, tolerance, (o) => scale?.[o] ?? 1);
  if (!matchOrder(outC, (o, p) => biasFits(o, bias, p))) return undefined;
  const own: Bounded[] = [];
  const fits: Fits[] = [];
  for (let o = 0; o < outC; o++) {
    own.push(await subject.row(o));
    fits.push(await rowFits(subject, found, tolerance, o));
  }
  // Four numbers of a filter are those of another by chance with probability (2k / 2²⁴)⁴.
  const centre = Math.floor(taps / 2);
  const last = width * taps - 1;
  const positions = [0, centre, Math.floor(width / 2) * taps + centre, last];
  return matchOrder(outC, (o, p) => positions.every((at) => fits[o]!(at, own[p]!, at)));
}

/** For every item the one it matches; undefined unless every item has exactly one partner of its own. */
function matchOrder(
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

type ReadRows = (begin: number, end: number, bounds: boolean) => Promise<Bounded>;

/** Rows of `[width, taps]` in the order. */
export function rowsInOrder(
  read: ReadRows,
  { axis, order }: ChannelOrder,
  { width, taps }: Pick<Subject, "width" | "taps">,
): ReadRows {
  const size = width * taps;
  const arrange = (from: Float64Array): Float64Array =>
    from.map((_, i) => {
      const inside = i % size;
      return from[i - inside + order[Math.floor(inside / taps)]! * taps + (inside % taps)]!;
    });
  return async (begin, end, bounds) => {
    if (axis === "input") {
      const part = await read(begin, end, bounds);
      return { values: arrange(part.values), bounds: arrange(part.bounds) };
    }
    const values = new Float64Array((end - begin) * size);
    const limits = bounds ? new Float64Array(values.length) : NO_BOUNDS;
    for (let o = begin; o < end; o++) {
      const row = await read(order[o]!, order[o]! + 1, bounds);
      values.set(row.values, (o - begin) * size);
      if (bounds) limits.set(row.bounds, (o - begin) * size);
    }
    return { values, bounds: limits };
  };
}

export function biasesInOrder(
  read: () => Promise<Bounded>,
  { axis, order }: ChannelOrder,
): () => Promise<Bounded> {
  if (axis === "input") return read;
  return async () => {
    const { values, bounds } = await read();
    const arrange = (from: Float64Array): Float64Array => from.map((_, o) => from[order[o]!]!);
    return { values: arrange(values), bounds: arrange(bounds) };
  };
}

export function describeOrder({ axis, order }: ChannelOrder): string {
  const noun = axis === "input" ? "input channel" : "filter";
  const moved = order.filter((p, i) => p !== i).length;
  const last = order.length - 1;
  if (order.every((p, i) => p === last - i)) return `${noun}s in reverse order`;
  const shift = order[0]!;
  if (order.every((p, i) => p === (i + shift) % order.length))
    return `${noun}s moved round by ${shift}`;
  const first = order.findIndex((p, i) => p !== i);
  return `${moved} ${noun}s moved; ${noun} ${first} is ${order[first]} of the training form`;
}
