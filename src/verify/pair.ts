/**
 * @file Which deploy kernel stands for which training kernel. By name where the names survived; else by shape, and
 * among equal shapes by the first filter, so that lost or reordered names do not matter. A wrong pair cannot
 * pass: certificate A judges whatever is paired here.
 */

import { elementCount, formatShape } from "../core/tensor.ts";
import type { Kernel } from "./side.ts";

export interface Pair {
  readonly expected: Kernel;
  /** Undefined when the deploy side has no kernel of this shape left. */
  readonly found: Kernel | undefined;
  /**
   * `name` and `content` are sure. `order` is only a candidate: the shape fits, the numbers do not look alike, and
   * one side may have folded more than the other.
   */
  readonly by: "name" | "content" | "order" | "none";
}

/**
 * A first filter that differs by less than this part of its length is taken for the same filter. Different filters of
 * a trained net are nearly orthogonal (distance about √2); faults that keep the filter recognisable stay far below.
 */
const SAME_FILTER_DISTANCE = 0.5;

export async function pairKernels(
  expected: readonly Kernel[],
  found: readonly Kernel[],
): Promise<Pair[]> {
  const byName = new Map(found.map((kernel) => [kernel.weightName, kernel]));
  const free = new Set(found);
  const pairs = new Map<Kernel, Pair>();
  for (const kernel of expected) {
    const named = byName.get(kernel.weightName);
    if (!named || !free.has(named) || !sameShape(kernel, named)) continue;
    free.delete(named);
    pairs.set(kernel, { expected: kernel, found: named, by: "name" });
  }
  const groups = groupBy([...free], shapeKey);
  for (const [shape, candidates] of groups) {
    const open = expected.filter((kernel) => !pairs.has(kernel) && shapeKey(kernel) === shape);
    for (const [kernel, { partner, by }] of await closest(open, candidates)) {
      pairs.set(kernel, { expected: kernel, found: partner, by });
    }
  }
  return expected.map(
    (kernel) => pairs.get(kernel) ?? { expected: kernel, found: undefined, by: "none" },
  );
}

function shapeKey(kernel: Kernel): string {
  return formatShape(kernel.shape);
}

function sameShape(a: Kernel, b: Kernel): boolean {
  return shapeKey(a) === shapeKey(b);
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}

/** Pairs kernels of one shape: each with the nearest unused candidate if that is near, the rest in order. */
async function closest(
  kernels: readonly Kernel[],
  candidates: readonly Kernel[],
): Promise<Map<Kernel, { partner: Kernel; by: "content" | "order" }>> {
  const result = new Map<Kernel, { partner: Kernel; by: "content" | "order" }>();
  const filters = new Map<Kernel, Float64Array>();
  for (const kernel of [...kernels, ...candidates]) filters.set(kernel, await firstFilter(kernel));
  const free = new Set(candidates);
  for (const kernel of kernels) {
    let best: Kernel | undefined;
    let least = SAME_FILTER_DISTANCE;
    for (const candidate of free) {
      const distance = relativeDistance(filters.get(kernel)!, filters.get(candidate)!);
      if (distance < least) [best, least] = [candidate, distance];
    }
    if (!best) continue;
    result.set(kernel, { partner: best, by: "content" });
    free.delete(best);
  }
  const rest = [...free];
  for (const kernel of kernels) {
    if (result.has(kernel)) continue;
    const next = rest.shift();
    if (next) result.set(kernel, { partner: next, by: "order" });
  }
  return result;
}

async function firstFilter(kernel: Kernel): Promise<Float64Array> {
  if (elementCount(kernel.shape) === 0) return new Float64Array(0);
  return (await kernel.rows(0, 1, false)).values;
}

function relativeDistance(a: Float64Array, b: Float64Array): number {
  let difference = 0;
  let length = 0;
  for (let i = 0; i < a.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    length += a[i]! ** 2;
  }
  return length === 0
    ? difference === 0
      ? 0
      : Number.POSITIVE_INFINITY
    : Math.sqrt(difference / length);
}
