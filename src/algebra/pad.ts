/**
 * @file Padding and cropping: the same formula read over a wider or narrower domain.
 *
 *     padding by p, q:  T − stride·p,  slack + stride·(p + q)      cropping is padding by −p, −q
 *
 * Padding is exact when what is put there equals the formula's continuation: the value is constant outside, and
 * the padding is that constant, i.e. its own bias (`"own"`) or zero where the bias is zero.
 */

import { type Affine, isConstantOutside, type Refused } from "./affine.ts";
import { whyPaddingIsNotZero } from "./convolve.ts";
import { shiftTaps } from "./taps.ts";

/** `begin[i]`, `end[i]` per spatial axis; negative crops. */
export function pad(
  v: Affine,
  begin: readonly number[],
  end: readonly number[],
  filling: "zero" | "own",
): Affine | Refused {
  for (const [i, axis] of v.axes.entries()) {
    if (begin[i]! <= 0 && end[i]! <= 0) continue;
    const reason =
      filling === "zero"
        ? whyPaddingIsNotZero(v, i)
        : isConstantOutside(axis)
          ? undefined
          : "the value's own taps still reach the image beyond its border, so its formula is not constant there";
    if (reason) return { refused: `padding by ${begin[i]}, ${end[i]}: ${reason}` };
  }
  return {
    ...v,
    isInput: v.isInput && begin.every((n) => n === 0) && end.every((n) => n === 0),
    axes: v.axes.map((axis, i) => ({
      ...axis,
      taps: shiftTaps(axis.taps, -axis.stride * begin[i]!),
      slack: axis.slack + axis.stride * (begin[i]! + end[i]!),
    })),
  };
}
