/**
 * @file Rows of any part of a block in the layout of the block's deploy kernel, `[outC, inC/group, ...taps]`, so that
 * parts can be added up and compared number by number.
 */

import { tapPositions } from "../algebra/add.ts";
import {
  type Affine,
  type AffineAxis,
  type Bounded,
  NO_BOUNDS,
  tapCount,
} from "../algebra/affine.ts";
import { lastTap, type Taps } from "../algebra/taps.ts";
import type { Anatomy } from "./anatomy.ts";

export interface Layout {
  readonly outC: number;
  /** Input channels per group. */
  readonly width: number;
  readonly group: number;
  readonly axes: readonly AffineAxis[];
  readonly taps: number;
  /** `width · taps` */
  readonly rowSize: number;
}

export function layoutOf({ affine, group }: Pick<Anatomy, "affine" | "group">): Layout {
  const width = affine.inC / group;
  const taps = tapCount(affine.axes);
  return { outC: affine.outC, width, group, axes: affine.axes, taps, rowSize: width * taps };
}

/** First input channel that row `o` stores. */
export function firstChannel(layout: Layout, o: number): number {
  return Math.floor(o / (layout.outC / layout.group)) * layout.width;
}

/** Whether every number of `v` has a place in the layout. */
export function fits(v: Affine, layout: Layout): boolean {
  return (
    v.outC === layout.outC &&
    v.axes.length === layout.axes.length &&
    v.axes.every((axis, i) => contains(layout.axes[i]!.taps, axis.taps)) &&
    v.support.start.every((start, o) => {
      const first = firstChannel(layout, o);
      return start >= first && start + v.support.width <= first + layout.width;
    })
  );
}

function contains(outer: Taps, inner: Taps): boolean {
  if (inner.start < outer.start || lastTap(inner) > lastTap(outer)) return false;
  if (inner.count === 1) return outer.step === 0 || (inner.start - outer.start) % outer.step === 0;
  return inner.step % outer.step === 0 && (inner.start - outer.start) % outer.step === 0;
}

export function emptyRows(layout: Layout, rows: number, bounds: boolean): Bounded {
  const size = rows * layout.rowSize;
  return { values: new Float64Array(size), bounds: bounds ? new Float64Array(size) : NO_BOUNDS };
}

/** Adds rows `[begin, end)` of `v` into `total`. */
export async function addRows(
  v: Affine,
  layout: Layout,
  begin: number,
  end: number,
  total: Bounded,
): Promise<void> {
  const bounds = total.bounds.length > 0;
  const part = await v.weights(begin, end, bounds);
  const positions = tapPositions(v.axes, layout.axes);
  let source = 0;
  for (let o = begin; o < end; o++) {
    const channel = v.support.start[o]! - firstChannel(layout, o);
    for (let c = 0; c < v.support.width; c++) {
      const base = (o - begin) * layout.rowSize + (channel + c) * layout.taps;
      for (const position of positions) {
        const at = base + position;
        total.values[at] = total.values[at]! + part.values[source]!;
        if (bounds) total.bounds[at] = total.bounds[at]! + part.bounds[source]!;
        source++;
      }
    }
  }
}

/** What a part adds at single positions of the layout's rows: for each, where it stands in the part's own row, or −1. */
export function pickPositions(
  v: Affine,
  layout: Layout,
  o: number,
  positions: Int32Array,
): Int32Array {
  const own = new Int32Array(layout.taps).fill(-1);
  for (const [tap, position] of tapPositions(v.axes, layout.axes).entries()) own[position] = tap;
  const taps = tapCount(v.axes);
  const first = v.support.start[o]! - firstChannel(layout, o);
  return positions.map((position) => {
    const channel = Math.floor(position / layout.taps) - first;
    const tap = own[position % layout.taps]!;
    return tap < 0 || channel < 0 || channel >= v.support.width ? -1 : channel * taps + tap;
  });
}

/** Position of every tap after the kernel's own axes were mirrored or exchanged; undefined where that does not fit. */
export function tapPermutation(
  counts: readonly number[],
  kind: "transpose" | "flip-height" | "flip-width" | "rotate",
): Int32Array | undefined {
  const [kH, kW] = counts;
  if (counts.length !== 2 || kH === undefined || kW === undefined || kH * kW === 1)
    return undefined;
  if (kind === "transpose" && kH !== kW) return undefined;
  return Int32Array.from({ length: kH * kW }, (_, at) => {
    const [h, w] = [Math.floor(at / kW), at % kW];
    if (kind === "transpose") return w * kW + h;
    const row = kind === "flip-width" ? h : kH - 1 - h;
    const column = kind === "flip-height" ? w : kW - 1 - w;
    return row * kW + column;
  });
}
