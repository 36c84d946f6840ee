/**
 * @file Convolution of an affine value.
 *
 *     weight″[o, c, s·t′ + t] = Σ_m weight′[o, m, t′] · weight[m, c, t]        bias″[o] = bias′[o] + Σ_m,t′ weight′·bias[m]
 *     stride″ = stride·stride′        slack″ = slack + stride·slack′,  slack′ = endPad′ − max T′
 *
 * Exact when no padding is read, or when what the padding puts there (zeros) is what the formula of `v` gives
 * outside its domain: constant outside, and bias zero.
 */

import {
  type Affine,
  type AffineAxis,
  type Bounded,
  isConstantOutside,
  NO_BOUNDS,
  type Refused,
  rowSize,
  tapCount,
} from "./affine.ts";
import { constantParameter, type Parameter } from "./parameter.ts";
import { groupSupport, supportOfRanges } from "./support.ts";
import { composeTaps, lastTap, type Taps, tapIndex, taps } from "./taps.ts";
import { describeWeights, ownTerm } from "./terms.ts";

export interface ConvAxis {
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly beginPad: number;
  readonly endPad: number;
}

export interface Convolution {
  readonly outC: number;
  readonly group: number;
  readonly axes: readonly ConvAxis[];
  /** `[outC, inC/group, ...kernelShape]` */
  readonly weight: Parameter;
  /** `[outC]`; undefined is zero. */
  readonly bias: Parameter | undefined;
}

export function convolve(v: Affine, conv: Convolution): Affine | Refused {
  if (conv.axes.length !== v.axes.length) {
    return {
      refused: `a convolution over ${conv.axes.length} spatial axes reads a value with ${v.axes.length}`,
    };
  }
  for (const [i, axis] of conv.axes.entries()) {
    if (axis.beginPad === 0 && axis.endPad === 0) continue;
    const reason = whyPaddingIsNotZero(v, i);
    if (reason) return { refused: `zero padding of ${axis.beginPad}, ${axis.endPad}: ${reason}` };
  }
  return v.isInput ? convolveInput(v, conv) : compose(v, conv);
}

/** Mean over windows that count their padding: the depthwise convolution with weight 1/|window|. */
export function averagePool(v: Affine, axes: readonly ConvAxis[]): Affine | Refused {
  const window = axes.reduce((product, axis) => product * axis.kernel, 1);
  // 1/|window| is stored with one rounding unless it is a power of two.
  const roundings = Number.isInteger(Math.log2(window)) ? 0 : 1;
  return convolve(v, {
    outC: v.outC,
    group: v.outC,
    axes,
    weight: constantParameter("average", v.outC * window, 1 / window, roundings),
    bias: undefined,
  });
}

/** Why zeros beyond the border of `v` are not what its formula gives there; undefined if they are. */
export function whyPaddingIsNotZero(v: Affine, axis: number): string | undefined {
  if (!isConstantOutside(v.axes[axis]!)) {
    return "the value's own taps still reach the image beyond its border, so its formula is not constant there";
  }
  return v.biasIsZero
    ? undefined
    : "the value continues with its bias beyond the border, and the padding puts zeros there";
}

function convTaps(axis: ConvAxis): Taps {
  return taps(-axis.beginPad, axis.dilation, axis.kernel);
}

function composedAxis(inner: AffineAxis, axis: ConvAxis): AffineAxis {
  const outer = convTaps(axis);
  return {
    taps: composeTaps(outer, inner.taps, inner.stride),
    stride: inner.stride * axis.stride,
    slack: inner.slack + inner.stride * (axis.endPad - lastTap(outer)),
    size: inner.size,
  };
}

async function convBias(conv: Convolution): Promise<Bounded> {
  const values = conv.bias ? await conv.bias.read(0, conv.outC) : new Float64Array(conv.outC);
  return { values, bounds: values.map(Math.abs) };
}

/** The convolution of the region's input: its own weight, untouched. */
function convolveInput(v: Affine, conv: Convolution): Affine {
  const axes = conv.axes.map((axis, i) => composedAxis(v.axes[i]!, axis));
  const support = groupSupport(conv.outC, v.outC, conv.group);
  const size = support.width * tapCount(axes);
  return {
    inC: v.inC,
    outC: conv.outC,
    axes,
    support,
    biasIsZero: conv.bias === undefined,
    roundings: { weight: conv.weight.roundings, bias: conv.bias?.roundings ?? 0 },
    isInput: false,
    weights: describeWeights(
      async (begin, end, bounds) => {
        const values = await conv.weight.read(begin * size, end * size);
        return { values, bounds: bounds ? values.map(Math.abs) : NO_BOUNDS };
      },
      [ownTerm(conv.weight, support.width, tapCount(axes))],
    ),
    biases: () => convBias(conv),
  };
}

function compose(v: Affine, conv: Convolution): Affine {
  const perGroup = v.outC / conv.group;
  const outPerGroup = conv.outC / conv.group;
  const kernelTaps = conv.axes.reduce((product, axis) => product * axis.kernel, 1);
  const axes = conv.axes.map((axis, i) => composedAxis(v.axes[i]!, axis));
  const firstMid = (o: number): number => Math.floor(o / outPerGroup) * perGroup;
  const support = composedSupport(v, conv, firstMid, perGroup);
  const result: Affine = {
    inC: v.inC,
    outC: conv.outC,
    axes,
    support,
    biasIsZero: conv.bias === undefined && v.biasIsZero,
    roundings: {
      // Each weight is a sum of at most this many products; n products and n − 1 sums round n times at most.
      weight:
        v.roundings.weight +
        conv.weight.roundings +
        perGroup * Math.min(kernelTaps, tapCount(v.axes)),
      bias: v.biasIsZero
        ? (conv.bias?.roundings ?? 0)
        : v.roundings.bias + conv.weight.roundings + perGroup * kernelTaps + (conv.bias ? 1 : 0),
    },
    isInput: false,
    weights: (begin, end, bounds) => composeRows(v, conv, result, begin, end, bounds),
    biases: async () => {
      const total = await convBias(conv);
      if (v.biasIsZero) return total;
      const inner = await v.biases();
      const rowLength = perGroup * kernelTaps;
      for (let o = 0; o < conv.outC; o++) {
        const row = await conv.weight.read(o * rowLength, (o + 1) * rowLength);
        const mid = firstMid(o);
        for (let j = 0; j < rowLength; j++) {
          const m = mid + Math.floor(j / kernelTaps);
          total.values[o] = total.values[o]! + row[j]! * inner.values[m]!;
          total.bounds[o] = total.bounds[o]! + Math.abs(row[j]!) * inner.bounds[m]!;
        }
      }
      return total;
    },
  };
  return result;
}

function composedSupport(
  v: Affine,
  conv: Convolution,
  firstMid: (o: number) => number,
  perGroup: number,
): Affine["support"] {
  const first = new Int32Array(conv.outC);
  const last = new Int32Array(conv.outC);
  let range: { mid: number; first: number; last: number } | undefined;
  for (let o = 0; o < conv.outC; o++) {
    const mid = firstMid(o);
    if (range?.mid !== mid) {
      range = { mid, first: v.inC, last: 0 };
      for (let m = mid; m < mid + perGroup; m++) {
        range.first = Math.min(range.first, v.support.start[m]!);
        range.last = Math.max(range.last, v.support.start[m]! + v.support.width - 1);
      }
    }
    first[o] = range.first;
    last[o] = range.last;
  }
  return supportOfRanges(first, last, v.inC);
}

/** For tap t′ of the convolution and tap t of `v` (both flat, C order): flat position among the composed taps. */
function composedPositions(v: Affine, conv: Convolution, into: readonly AffineAxis[]): Int32Array {
  const innerCount = tapCount(v.axes);
  let pairs: { outer: number; inner: number; position: number }[] = [
    { outer: 0, inner: 0, position: 0 },
  ];
  let outerCount = 1;
  for (const [i, axis] of conv.axes.entries()) {
    const inner = v.axes[i]!;
    const outer = convTaps(axis);
    const target = into[i]!.taps;
    outerCount *= outer.count;
    pairs = pairs.flatMap((pair) =>
      Array.from({ length: outer.count * inner.taps.count }, (_, flat) => {
        const [u, w] = [Math.floor(flat / inner.taps.count), flat % inner.taps.count];
        const offset =
          inner.stride * (outer.start + outer.step * u) + inner.taps.start + inner.taps.step * w;
        return {
          outer: pair.outer * outer.count + u,
          inner: pair.inner * inner.taps.count + w,
          position: pair.position * target.count + tapIndex(target, offset),
        };
      }),
    );
  }
  const positions = new Int32Array(outerCount * innerCount);
  for (const { outer, inner, position } of pairs) positions[outer * innerCount + inner] = position;
  return positions;
}

async function composeRows(
  v: Affine,
  conv: Convolution,
  result: Affine,
  begin: number,
  end: number,
  bounds: boolean,
): Promise<Bounded> {
  const perGroup = v.outC / conv.group;
  const outPerGroup = conv.outC / conv.group;
  const kernelTaps = conv.axes.reduce((product, axis) => product * axis.kernel, 1);
  const innerTaps = tapCount(v.axes);
  const innerRow = rowSize(v);
  const resultTaps = tapCount(result.axes);
  const resultRow = rowSize(result);
  const positions = composedPositions(v, conv, result.axes);
  // Only the rows of v that these output rows read.
  const midBegin = Math.floor(begin / outPerGroup) * perGroup;
  const midEnd = (Math.floor((end - 1) / outPerGroup) + 1) * perGroup;
  const inner = await v.weights(midBegin, midEnd, bounds);
  const rowLength = perGroup * kernelTaps;
  const outer = await conv.weight.read(begin * rowLength, end * rowLength);
  const values = new Float64Array((end - begin) * resultRow);
  const limits = bounds ? new Float64Array(values.length) : NO_BOUNDS;
  for (let o = begin; o < end; o++) {
    const mid = Math.floor(o / outPerGroup) * perGroup;
    for (let m = 0; m < perGroup; m++) {
      const innerBase = (mid + m - midBegin) * innerRow;
      const channelShift = v.support.start[mid + m]! - result.support.start[o]!;
      const resultBase = (o - begin) * resultRow + channelShift * resultTaps;
      for (let u = 0; u < kernelTaps; u++) {
        const w = outer[(o - begin) * rowLength + m * kernelTaps + u]!;
        const magnitude = Math.abs(w);
        for (let c = 0; c < v.support.width; c++) {
          const from = innerBase + c * innerTaps;
          const to = resultBase + c * resultTaps;
          for (let t = 0; t < innerTaps; t++) {
            const index = to + positions[u * innerTaps + t]!;
            values[index] = values[index]! + w * inner.values[from + t]!;
            if (bounds) limits[index] = limits[index]! + magnitude * inner.bounds[from + t]!;
          }
        }
      }
    }
  }
  return { values, bounds: limits };
}
