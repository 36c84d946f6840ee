import fc from "fast-check";
import { expect, test } from "vitest";
import { composeTaps, gcd, lastTap, type Taps, tapIndex, taps, unionTaps } from "./taps.ts";

const anyTaps = fc
  .tuple(
    fc.integer({ min: -9, max: 9 }),
    fc.integer({ min: 1, max: 5 }),
    fc.integer({ min: 1, max: 5 }),
  )
  .map(([start, step, count]) => taps(start, step, count));

function offsets(t: Taps): number[] {
  return Array.from({ length: t.count }, (_, u) => t.start + t.step * u);
}

test("the union holds both and spans no more", () => {
  fc.assert(
    fc.property(anyTaps, anyTaps, (a, b) => {
      const union = unionTaps(a, b);
      const all = offsets(union);
      const wanted = [...offsets(a), ...offsets(b)];
      expect(all).toEqual(expect.arrayContaining(wanted));
      expect([union.start, lastTap(union)]).toEqual([Math.min(...wanted), Math.max(...wanted)]);
      for (const offset of wanted) expect(all[tapIndex(union, offset)]).toBe(offset);
    }),
    { seed: 3 },
  );
});

test("composed taps hold every sum, strides included", () => {
  fc.assert(
    fc.property(anyTaps, anyTaps, fc.integer({ min: 1, max: 4 }), (outer, inner, stride) => {
      const composed = composeTaps(outer, inner, stride);
      const sums = offsets(outer).flatMap((t) => offsets(inner).map((u) => stride * t + u));
      expect(offsets(composed)).toEqual(expect.arrayContaining(sums));
      expect([composed.start, lastTap(composed)]).toEqual([Math.min(...sums), Math.max(...sums)]);
    }),
    { seed: 3 },
  );
});

test("the step is as wide as the offsets allow", () => {
  expect(unionTaps(taps(-4, 4, 3), taps(0, 0, 1))).toEqual({ start: -4, step: 4, count: 3 });
  expect(unionTaps(taps(-3, 3, 3), taps(-2, 2, 3))).toEqual({ start: -3, step: 1, count: 7 });
  expect(composeTaps(taps(0, 2, 3), taps(0, 0, 1), 2)).toEqual({ start: 0, step: 4, count: 3 });
  expect([gcd(0, 6), gcd(12, 18), gcd(5, 0)]).toEqual([6, 6, 5]);
});
