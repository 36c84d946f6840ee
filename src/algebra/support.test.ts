import fc from "fast-check";
import { expect, test } from "vitest";
import {
  groupSupport,
  identitySupport,
  largestGroup,
  sameSupport,
  supportOfRanges,
  unionSupport,
} from "./support.ts";

test("rows of a grouped convolution read their own block", () => {
  expect(groupSupport(4, 8, 2)).toEqual({ start: Int32Array.from([0, 0, 4, 4]), width: 4 });
  expect(identitySupport(3)).toEqual({ start: Int32Array.from([0, 1, 2]), width: 1 });
});

test("the union holds both, and no row reaches past the last channel", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.array(fc.tuple(fc.nat(11), fc.nat(11)), { minLength: 1, maxLength: 8 }),
      (inC, pairs) => {
        const range = (part: 0 | 1) => {
          const first = Int32Array.from(pairs, (pair) => pair[part] % inC);
          return supportOfRanges(first, first, inC);
        };
        const [a, b] = [range(0), range(1)];
        const union = unionSupport(a, b, inC);
        pairs.forEach((_, o) => {
          for (const part of [a, b]) {
            expect(union.start[o]).toBeLessThanOrEqual(part.start[o]!);
            expect(union.start[o]! + union.width).toBeGreaterThanOrEqual(
              part.start[o]! + part.width,
            );
          }
          expect(union.start[o]! + union.width).toBeLessThanOrEqual(inC);
        });
      },
    ),
    { seed: 5 },
  );
});

test.each([
  ["identity", identitySupport(6), 6, 6],
  ["two groups", groupSupport(4, 8, 2), 8, 2],
  // 4 groups of 2 and 2 groups of 4 meet at gcd 2.
  ["mixed groups", unionSupport(groupSupport(8, 8, 4), groupSupport(8, 8, 2), 8), 8, 2],
  // A channel swap leaves every block but the whole.
  ["halves exchanged", { start: Int32Array.from([2, 3, 0, 1]), width: 1 }, 4, 1],
])("the largest group of %s", (_name, support, inC, group) => {
  expect(largestGroup(support, inC)).toBe(group);
});

test("equal supports are seen as equal", () => {
  expect(sameSupport(groupSupport(4, 4, 2), groupSupport(4, 4, 2))).toBe(true);
  expect(sameSupport(groupSupport(4, 4, 2), groupSupport(4, 4, 4))).toBe(false);
});
