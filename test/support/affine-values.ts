/**
 * @file An affine value read straight from its formula, along one spatial axis, over small integers: everything is
 * exact in float64, so tests compare with `toEqual`.
 */

import type { Affine } from "../../src/algebra/affine.ts";
import { inputAffine, isRefused } from "../../src/algebra/affine.ts";
import { type Convolution, convolve } from "../../src/algebra/convolve.ts";
import { parameter } from "../../src/algebra/parameter.ts";
import type { Rng } from "../../src/core/rng.ts";

/** `[channel][position]` */
export type Signal = readonly (readonly number[])[];

export function randomSignal(rng: Rng, channels: number, length: number): Signal {
  return Array.from({ length: channels }, () => integers(rng, length));
}

/** Whole numbers of −4 … 4, none of them 0, so that every term counts. */
export function integers(rng: Rng, count: number): number[] {
  return Array.from({ length: count }, () => (1 + rng.integer(4)) * (rng.next() < 0.5 ? -1 : 1));
}

/** The value at every position of its domain, by the formula of `affine.ts`. */
export async function evaluate(v: Affine, x: Signal): Promise<number[][]> {
  const axis = v.axes[0]!;
  const inputLength = x[0]!.length;
  const length = Math.floor((inputLength - 1 + axis.slack) / axis.stride) + 1;
  const { values: bias } = await v.biases();
  const { values: weight } = await v.weights(0, v.outC, true);
  return Array.from({ length: v.outC }, (_, o) =>
    Array.from({ length }, (_, i) => {
      let sum = bias[o]!;
      for (let c = 0; c < v.support.width; c++) {
        for (let u = 0; u < axis.taps.count; u++) {
          const at = axis.stride * i + axis.taps.start + axis.taps.step * u;
          const w = weight[(o * v.support.width + c) * axis.taps.count + u]!;
          sum += w * (x[v.support.start[o]! + c]![at] ?? 0);
        }
      }
      return sum;
    }),
  );
}

export interface ConvWish {
  readonly inC: number;
  readonly outC: number;
  readonly kernel: number;
  readonly group?: number;
  readonly stride?: number;
  readonly dilation?: number;
  readonly pads?: readonly [number, number];
  readonly bias?: boolean;
}

/** A convolution along one axis with random small integers. */
export function randomConv(rng: Rng, wish: ConvWish): Convolution {
  const { inC, outC, kernel, group = 1, stride = 1, dilation = 1, pads = [0, 0] } = wish;
  return {
    outC,
    group,
    axes: [{ kernel, stride, dilation, beginPad: pads[0], endPad: pads[1] }],
    weight: parameter("w", integers(rng, outC * (inC / group) * kernel)),
    bias: wish.bias === false ? undefined : parameter("b", integers(rng, outC)),
  };
}

/** The convolution of a signal, by its definition. */
export async function convSignal(x: Signal, conv: Convolution): Promise<number[][]> {
  const { kernel, stride, dilation, beginPad, endPad } = conv.axes[0]!;
  const perGroup = x.length / conv.group;
  const w = await conv.weight.read(0, conv.outC * perGroup * kernel);
  const b = await conv.bias?.read(0, conv.outC);
  const span = dilation * (kernel - 1) + 1;
  const length = Math.floor((x[0]!.length + beginPad + endPad - span) / stride) + 1;
  return Array.from({ length: conv.outC }, (_, o) =>
    Array.from({ length }, (_, i) => {
      let sum = b?.[o] ?? 0;
      const first = Math.floor(o / (conv.outC / conv.group)) * perGroup;
      for (let c = 0; c < perGroup; c++) {
        for (let u = 0; u < kernel; u++) {
          const at = i * stride - beginPad + u * dilation;
          sum += w[(o * perGroup + c) * kernel + u]! * (x[first + c]![at] ?? 0);
        }
      }
      return sum;
    }),
  );
}

/** Fails the test when a rule refuses. */
export function accepted(result: Affine | { refused: string }): Affine {
  if (isRefused(result)) throw new Error(`refused: ${result.refused}`);
  return result;
}

/** A convolution of a fresh input of `inC` channels. */
export function convOfInput(rng: Rng, wish: ConvWish, size?: number): Affine {
  return accepted(convolve(inputAffine(wish.inC, 1, [size]), randomConv(rng, wish)));
}
