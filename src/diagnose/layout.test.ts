import { expect, test } from "vitest";
import { inputAffine } from "../algebra/affine.ts";
import { taps } from "../algebra/taps.ts";
import { addRows, emptyRows, firstChannel, fits, type Layout, tapPermutation } from "./layout.ts";

/** Two groups of a 4-channel 3×3 kernel. */
const LAYOUT: Layout = {
  outC: 4,
  width: 2,
  group: 2,
  axes: [0, 1].map(() => ({ taps: taps(-1, 1, 3), stride: 1, slack: 0 })),
  taps: 9,
  rowSize: 18,
};

test("the identity stands at the centre tap of each channel's own place in its group", async () => {
  const total = emptyRows(LAYOUT, 4, true);
  await addRows(inputAffine(4, 2), LAYOUT, 0, 4, total);
  const ones = [...total.values.keys()].filter((i) => total.values[i] === 1);
  // Row o, channel o mod 2, centre tap 4: 18·o + 9·(o mod 2) + 4.
  expect(ones).toEqual([4, 31, 40, 67]);
  expect([...total.bounds]).toEqual([...total.values]);
  expect([0, 1, 2, 3].map((o) => firstChannel(LAYOUT, o))).toEqual([0, 0, 2, 2]);
});

test("a value fits when its taps and channels have a place", () => {
  const identity = inputAffine(4, 2);
  expect(fits(identity, LAYOUT)).toBe(true);
  const outside = {
    ...identity,
    axes: identity.axes.map((axis) => ({ ...axis, taps: taps(2, 0, 1) })),
  };
  expect(fits(outside, LAYOUT)).toBe(false);
  const shifted = { ...identity, support: { start: Int32Array.of(2, 2, 0, 0), width: 1 } };
  expect(fits(shifted, LAYOUT)).toBe(false);
});

test("taps exchanged and mirrored", () => {
  // 0 1 2 / 3 4 5 transposed is 0 3 / 1 4 / 2 5, which a 2×3 kernel has no place for.
  expect(tapPermutation([2, 3], "transpose")).toBeUndefined();
  expect([...tapPermutation([2, 2], "transpose")!]).toEqual([0, 2, 1, 3]);
  expect([...tapPermutation([2, 3], "flip-width")!]).toEqual([2, 1, 0, 5, 4, 3]);
  expect([...tapPermutation([2, 3], "flip-height")!]).toEqual([3, 4, 5, 0, 1, 2]);
  expect([...tapPermutation([2, 2], "rotate")!]).toEqual([3, 2, 1, 0]);
  expect(tapPermutation([1, 1], "rotate")).toBeUndefined();
});
