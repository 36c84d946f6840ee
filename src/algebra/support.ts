/**
 * @file Which input channels an output channel can depend on, known from how the value was built.
 *
 * Row `o` reads channels `[start[o], start[o] + width)`. A dense convolution has width inC, a grouped one
 * inC/group, the identity 1. Sums take the union, chains the union over what they read, so mixed groups meet at
 * the right structure without ever looking for zeros in the data.
 */

import { gcd } from "./taps.ts";

export interface Support {
  /** `[outC]`, first channel each row may read. */
  readonly start: Int32Array;
  /** Channels each row stores. `start[o] + width ≤ inC` for every row. */
  readonly width: number;
}

export function identitySupport(channels: number): Support {
  return { start: Int32Array.from({ length: channels }, (_, o) => o), width: 1 };
}

/** Support of a convolution's rows over its own input: `group` equal blocks. */
export function groupSupport(outC: number, inC: number, group: number): Support {
  const width = inC / group;
  const rows = outC / group;
  return {
    start: Int32Array.from({ length: outC }, (_, o) => Math.floor(o / rows) * width),
    width,
  };
}

/** From the first and the last channel (inclusive) of each row. */
export function supportOfRanges(first: Int32Array, last: Int32Array, inC: number): Support {
  let width = 1;
  for (let o = 0; o < first.length; o++) width = Math.max(width, last[o]! - first[o]! + 1);
  return { start: first.map((c) => Math.min(c, inC - width)), width };
}

export function unionSupport(a: Support, b: Support, inC: number): Support {
  if (sameSupport(a, b)) return a;
  const first = a.start.map((c, o) => Math.min(c, b.start[o]!));
  const last = a.start.map((c, o) => Math.max(c + a.width, b.start[o]! + b.width) - 1);
  return supportOfRanges(first, last, inC);
}

export function sameSupport(a: Support, b: Support): boolean {
  return a === b || (a.width === b.width && a.start.every((c, o) => c === b.start[o]));
}

/** The largest `group` whose diagonal blocks hold every row. 1 always does. */
export function largestGroup(support: Support, inC: number): number {
  const outC = support.start.length;
  const most = gcd(inC, outC);
  for (let group = most; group > 1; group--) {
    if (most % group !== 0) continue;
    const width = inC / group;
    if (width < support.width) continue;
    const rows = outC / group;
    const fits = support.start.every((start, o) => {
      const block = Math.floor(o / rows) * width;
      return start >= block && start + support.width <= block + width;
    });
    if (fits) return group;
  }
  return 1;
}
