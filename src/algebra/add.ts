/**
 * @file Sum of two affine values:  v₁ + v₂ has the union of their taps and supports, weights and biases added.
 *
 * Allowed when both have the same stride and the same length for every input size, i.e. equal end slack.
 * Exact in real arithmetic; one rounding per weight in an ordinary float32 fuse.
 */

import {
  type Affine,
  type AffineAxis,
  type Bounded,
  commonAxis,
  NO_BOUNDS,
  type Refused,
  rowSize,
  sameLength,
  tapCount,
} from "./affine.ts";
import { negate } from "./scale-shift.ts";
import { sameSupport, unionSupport } from "./support.ts";
import { sameTaps, tapIndex } from "./taps.ts";
import { describeWeights, embeddedTerms, type Term } from "./terms.ts";

export function add(a: Affine, b: Affine): Affine | Refused {
  if (a.outC !== b.outC) {
    return { refused: `the branches have ${a.outC} and ${b.outC} channels` };
  }
  if (a.axes.length !== b.axes.length) {
    return { refused: `the branches have ${a.axes.length} and ${b.axes.length} spatial axes` };
  }
  for (const [index, axis] of a.axes.entries()) {
    const other = b.axes[index]!;
    if (axis.stride !== other.stride) {
      return { refused: `the branches have strides ${axis.stride} and ${other.stride}` };
    }
    if (!sameLength(axis, other)) {
      return {
        refused: `the branches cover different output sizes (end slack ${axis.slack} and ${other.slack}): their paddings do not match their kernels`,
      };
    }
  }
  const axes = a.axes.map((axis, i) => commonAxis(axis, b.axes[i]!));
  const support = unionSupport(a.support, b.support, a.inC);
  const sum: Affine = {
    inC: a.inC,
    outC: a.outC,
    axes,
    support,
    biasIsZero: a.biasIsZero && b.biasIsZero,
    roundings: {
      weight: Math.max(a.roundings.weight, b.roundings.weight) + 1,
      bias:
        a.biasIsZero || b.biasIsZero
          ? Math.max(a.roundings.bias, b.roundings.bias)
          : Math.max(a.roundings.bias, b.roundings.bias) + 1,
    },
    isInput: false,
    weights: describeWeights(
      async (begin, end, bounds) => {
        const sizes = { rows: end - begin, begin };
        // The branch that already has the union's layout (the dense one) is the accumulator: no copy.
        const [first, second] = hasLayout(a, sum) ? [a, b] : [b, a];
        const total = hasLayout(first, sum)
          ? await first.weights(begin, end, bounds)
          : await embed(first, sum, sizes, bounds, emptyRows(sum, end - begin, bounds));
        return embed(second, sum, sizes, bounds, total);
      },
      summedTerms(a, b, axes, support.start),
    ),
    biases: async () => {
      const [x, y] = [await a.biases(), await b.biases()];
      return {
        values: x.values.map((value, o) => value + y.values[o]!),
        bounds: x.bounds.map((bound, o) => bound + y.bounds[o]!),
      };
    },
  };
  return sum;
}

export function subtract(a: Affine, b: Affine): Affine | Refused {
  return add(a, negate(b));
}

function summedTerms(
  a: Affine,
  b: Affine,
  axes: readonly AffineAxis[],
  firstChannel: Int32Array,
): readonly Term[] | undefined {
  const first = embeddedTerms(a, tapPositions(a.axes, axes), firstChannel);
  const second = first && embeddedTerms(b, tapPositions(b.axes, axes), firstChannel);
  return second && [...first, ...second];
}

function hasLayout(v: Affine, target: Affine): boolean {
  return (
    sameSupport(v.support, target.support) &&
    v.axes.every((axis, i) => sameTaps(axis.taps, target.axes[i]!.taps))
  );
}

function emptyRows(v: Affine, rows: number, bounds: boolean): Bounded {
  const size = rows * rowSize(v);
  return { values: new Float64Array(size), bounds: bounds ? new Float64Array(size) : NO_BOUNDS };
}

/** Adds rows of `v` into `total`, which has the layout of `target`. */
async function embed(
  v: Affine,
  target: Affine,
  range: { rows: number; begin: number },
  bounds: boolean,
  total: Bounded,
): Promise<Bounded> {
  const part = await v.weights(range.begin, range.begin + range.rows, bounds);
  const positions = tapPositions(v.axes, target.axes);
  const targetTaps = tapCount(target.axes);
  const targetRow = rowSize(target);
  let source = 0;
  for (let r = 0; r < range.rows; r++) {
    const o = range.begin + r;
    const channelShift = v.support.start[o]! - target.support.start[o]!;
    for (let c = 0; c < v.support.width; c++) {
      const base = r * targetRow + (channelShift + c) * targetTaps;
      for (const position of positions) {
        const index = base + position;
        total.values[index] = total.values[index]! + part.values[source]!;
        if (bounds) total.bounds[index] = total.bounds[index]! + part.bounds[source]!;
        source++;
      }
    }
  }
  return total;
}

/** For every tap of `from` in C order, its flat position among the taps of `into`. */
export function tapPositions(from: readonly AffineAxis[], into: readonly AffineAxis[]): Int32Array {
  let positions = [0];
  for (const [i, axis] of from.entries()) {
    const target = into[i]!.taps;
    const next: number[] = [];
    for (const position of positions) {
      for (let u = 0; u < axis.taps.count; u++) {
        const offset = axis.taps.start + axis.taps.step * u;
        next.push(position * target.count + tapIndex(target, offset));
      }
    }
    positions = next;
  }
  return Int32Array.from(positions);
}
