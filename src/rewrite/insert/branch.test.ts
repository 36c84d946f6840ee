import { expect, test } from "vitest";
import {
  type ConvGeometry,
  denseBranch,
  identityBranch,
  middleTap,
  pointwiseBranch,
  windowAxis,
} from "./branch.ts";
import { whyNotExact } from "./branch-affine.ts";

const axis = (kernel: number, beginPad: number, endPad = beginPad, dilation = 1, stride = 1) => ({
  kernel,
  stride,
  dilation,
  beginPad,
  endPad,
});

test("a window's pads keep its taps where the kernel has them; negative ones crop", () => {
  // k 3, pad 1: the middle tap stands at 0, no pads.
  expect(windowAxis(axis(3, 1), { first: 1, count: 1 })).toEqual({
    axis: axis(1, 0),
    beginCrop: 0,
    endCrop: 0,
  });
  // k 3, pad 0: taps 0 1 2, the middle one reads x[i + 1]: one row cut from either end.
  expect(windowAxis(axis(3, 0), { first: 1, count: 1 })).toEqual({
    axis: axis(1, 0),
    beginCrop: 1,
    endCrop: 1,
  });
  // k 5, dilation 2, pads 6 and 3: taps −6 −4 −2 0 2; the last three: −2 0 2, so begin 6 − 4, end 3.
  expect(windowAxis(axis(5, 6, 3, 2), { first: 2, count: 3 })).toEqual({
    axis: axis(3, 2, 3, 2),
    beginCrop: 0,
    endCrop: 0,
  });
});

test("a pointwise branch takes the tap that needs least padding and cropping, then the middle one", () => {
  expect(middleTap(axis(3, 1))).toBe(1);
  expect(middleTap(axis(7, 3))).toBe(3);
  // Taps −1 0 1 2 and −2 −1 0 1 at equal lengths: tap 0 is the second and the third.
  expect(middleTap(axis(4, 1, 2))).toBe(1);
  expect(middleTap(axis(4, 2, 1))).toBe(2);
  // Taps −1 … 3: the one at 0 needs nothing.
  expect(middleTap(axis(5, 1, 3))).toBe(1);
  // Taps 0 1 2: each costs two rows, so the middle; taps 0 1: the first.
  expect(middleTap(axis(3, 0))).toBe(1);
  expect(middleTap(axis(2, 0))).toBe(0);
});

const geometry = (over: Partial<ConvGeometry>): ConvGeometry => ({
  outC: 8,
  inC: 8,
  group: 1,
  axes: [axis(3, 1), axis(3, 1)],
  ...over,
});

test("an identity branch needs equal channels, stride 1 and no padding of its own", () => {
  expect(identityBranch(geometry({}), "bn")).toMatchObject({ kind: "identity" });
  expect(identityBranch(geometry({ outC: 16 }), "bn")).toContain("8 input and 16 output");
  const strided = [axis(3, 1, 1, 1, 2), axis(3, 1)];
  expect(identityBranch(geometry({ axes: strided }), "bn")).toContain("stride 2×1");
  const wide = [axis(3, 2), axis(3, 1)];
  expect(identityBranch(geometry({ axes: wide }), "bn")).toContain("larger than the input");
});

test("a branch that is not inside the dense one is refused, with the reason", () => {
  const here = geometry({});
  const dense = denseBranch(here, { conv: "d", bn: "d" });
  const pointwise = (over: Partial<ConvGeometry>) =>
    pointwiseBranch(geometry(over), { conv: "p", bn: "p" });
  expect(whyNotExact(here, dense, pointwise({}))).toBeUndefined();
  expect(whyNotExact(here, dense, pointwise({ axes: [axis(3, 0), axis(3, 0)] }))).toContain(
    "output sizes",
  );
  const strided = [axis(3, 1, 1, 1, 2), axis(3, 1, 1, 1, 2)];
  expect(whyNotExact(here, dense, pointwise({ axes: strided }))).toContain("strides 1 and 2");
  // The same length, but a tap that the dense kernel does not have: k 3 at pads 3 and −1 … as 1×1 at −2.
  const shifted = { ...pointwise({}) };
  const moved = { ...shifted.steps[0]!, axes: [axis(1, 2, -2), axis(1, 0)] };
  const outside = { ...shifted, steps: [moved, shifted.steps[1]!] } as typeof shifted;
  expect(whyNotExact(here, dense, outside)).toContain("not all taps");
  const grouped = geometry({ group: 2 });
  const groupedDense = denseBranch(grouped, { conv: "d", bn: "d" });
  expect(whyNotExact(grouped, groupedDense, pointwise({}))).toContain("connects channels");
});
