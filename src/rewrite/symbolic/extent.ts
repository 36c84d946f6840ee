/**
 * @file Lengths that are known as numbers or only by name. Within one region every value has the batch of the
 * region's input, and spatial lengths follow from the end slack: equal names are equal lengths, whatever the input.
 */

import { type Affine, fixedLength } from "../../algebra/affine.ts";

/** A number, or the name of a length that is at least 1. */
export type Extent = number | string;

/** What is known of the region's input: its batch size, where it is fixed. */
export interface Batch {
  readonly batch: number | undefined;
}

/** `[N, C, ...spatial]` of a value. */
export function extentsOf(v: Affine, { batch }: Batch): Extent[] {
  const spatial = v.axes.map(
    (axis, i) => fixedLength(axis) ?? `length of axis ${i + 2}, ${axis.stride}:${axis.slack}`,
  );
  return [batch ?? "batch", v.outC, ...spatial];
}

/** The extents both broadcast to; undefined when they do not, or when we cannot tell. */
export function broadcastExtents(a: readonly Extent[], b: readonly Extent[]): Extent[] | undefined {
  const rank = Math.max(a.length, b.length);
  const result: Extent[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return undefined;
    result.push(x === 1 ? y : x);
  }
  return result;
}

export function allNumbers(extents: readonly Extent[]): extents is readonly number[] {
  return extents.every((extent) => typeof extent === "number");
}
