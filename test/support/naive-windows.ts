/** @file Convolution, its transpose and average pooling of any rank, as index loops; with Σ|terms| for error bounds. */

import type { Dense } from "./naive-graph.ts";

export interface NaiveWindows {
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** All begins, then all ends. */
  readonly pads: readonly number[];
}

export interface NaiveSum extends Dense {
  /** Σ|w·x| + |b| per element. */
  readonly magnitude: Float64Array;
  /** Products per element, at most. */
  readonly terms: number;
}

/** Calls `visit` for every index of a box, last axis fastest. */
export function forEachIndex(
  box: readonly number[],
  visit: (index: readonly number[]) => void,
): void {
  const index = box.map(() => 0);
  const size = box.reduce((a, b) => a * b, 1);
  for (let flat = 0; flat < size; flat++) {
    let rest = flat;
    for (let axis = box.length - 1; axis >= 0; axis--) {
      index[axis] = rest % box[axis]!;
      rest = Math.floor(rest / box[axis]!);
    }
    visit(index);
  }
}

/** Position of an index in C order; -1 outside. */
function flatIndex(shape: readonly number[], index: readonly number[]): number {
  let flat = 0;
  for (let axis = 0; axis < shape.length; axis++) {
    const i = index[axis]!;
    if (i < 0 || i >= shape[axis]!) return -1;
    flat = flat * shape[axis]! + i;
  }
  return flat;
}

export function naiveConv(
  x: Dense,
  w: Dense,
  bias: Dense | undefined,
  group: number,
  { strides, dilations, pads }: NaiveWindows,
): NaiveSum {
  const rank = strides.length;
  const [batch = 1, , ...spatial] = x.shape;
  const [outC = 1, groupC = 1, ...kernel] = w.shape;
  const output = spatial.map(
    (n, i) =>
      Math.floor(
        (n + pads[i]! + pads[i + rank]! - dilations[i]! * (kernel[i]! - 1) - 1) / strides[i]!,
      ) + 1,
  );
  const result = emptySum([batch, outC, ...output], groupC * kernel.reduce((a, b) => a * b, 1));
  forEachIndex([batch, outC, ...output], ([n = 0, o = 0, ...p]) => {
    const at = flatIndex(result.shape, [n, o, ...p]);
    const firstC = Math.floor(o / (outC / group)) * groupC;
    forEachIndex([groupC, ...kernel], ([c = 0, ...t]) => {
      const place = p.map((q, i) => q * strides[i]! + t[i]! * dilations[i]! - pads[i]!);
      const from = flatIndex(x.shape, [n, firstC + c, ...place]);
      if (from < 0) return;
      const term = x.data[from]! * w.data[flatIndex(w.shape, [o, c, ...t])]!;
      result.data[at]! += term;
      result.magnitude[at]! += Math.abs(term);
    });
    result.data[at]! += bias?.data[o] ?? 0;
    result.magnitude[at]! += Math.abs(bias?.data[o] ?? 0);
  });
  return result;
}

/** Scatters every input element: independent of the gathering form that the engine uses. */
export function naiveConvTranspose(
  x: Dense,
  w: Dense,
  bias: Dense | undefined,
  group: number,
  { strides, dilations, pads }: NaiveWindows,
  outputPadding: readonly number[],
): NaiveSum {
  const rank = strides.length;
  const [batch = 1, inC = 1, ...spatial] = x.shape;
  const [, groupOut = 1, ...kernel] = w.shape;
  const output = spatial.map(
    (n, i) =>
      (n - 1) * strides[i]! +
      dilations[i]! * (kernel[i]! - 1) +
      1 +
      outputPadding[i]! -
      pads[i]! -
      pads[i + rank]!,
  );
  const outC = groupOut * group;
  const result = emptySum(
    [batch, outC, ...output],
    (inC / group) * kernel.reduce((a, b) => a * b, 1),
  );
  forEachIndex(result.shape, (index) => {
    const value = bias?.data[index[1]!] ?? 0;
    const at = flatIndex(result.shape, index);
    result.data[at] = value;
    result.magnitude[at] = Math.abs(value);
  });
  forEachIndex(x.shape, ([n = 0, c = 0, ...q]) => {
    const value = x.data[flatIndex(x.shape, [n, c, ...q])]!;
    const firstO = Math.floor(c / (inC / group)) * groupOut;
    forEachIndex([groupOut, ...kernel], ([o = 0, ...t]) => {
      const place = q.map(
        (i, axis) => i * strides[axis]! + t[axis]! * dilations[axis]! - pads[axis]!,
      );
      const at = flatIndex(result.shape, [n, firstO + o, ...place]);
      if (at < 0) return;
      const term = value * w.data[flatIndex(w.shape, [c, o, ...t])]!;
      result.data[at]! += term;
      result.magnitude[at]! += Math.abs(term);
    });
  });
  return result;
}

/** `output` is given, since ceil_mode decides it. */
export function naiveAveragePool(
  x: Dense,
  kernel: readonly number[],
  { strides, dilations, pads }: NaiveWindows,
  output: readonly number[],
  countPadding: boolean,
): NaiveSum {
  const rank = kernel.length;
  const [batch = 1, channels = 1, ...spatial] = x.shape;
  const result = emptySum(
    [batch, channels, ...output],
    kernel.reduce((a, b) => a * b, 1),
  );
  forEachIndex(result.shape, ([n = 0, c = 0, ...p]) => {
    const at = flatIndex(result.shape, [n, c, ...p]);
    let count = 0;
    forEachIndex(kernel, (t) => {
      const place = p.map((q, i) => q * strides[i]! + t[i]! * dilations[i]! - pads[i]!);
      const from = flatIndex(x.shape, [n, c, ...place]);
      const inPadding = place.every((q, i) => q >= -pads[i]! && q < spatial[i]! + pads[i + rank]!);
      if (from >= 0 || (countPadding && inPadding)) count++;
      if (from < 0) return;
      result.data[at]! += x.data[from]!;
      result.magnitude[at]! += Math.abs(x.data[from]!);
    });
    result.data[at]! /= count;
    result.magnitude[at]! /= count;
  });
  return result;
}

function emptySum(shape: readonly number[], terms: number): NaiveSum {
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, data: new Float64Array(size), magnitude: new Float64Array(size), terms };
}
