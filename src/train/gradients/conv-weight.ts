/**
 * @file The weight gradient of a convolution.
 *
 *     w̄[o,c,t] = Σ_{n,q} ȳ[n,o,q] · x₀[n, c, s·q + t·d − p]
 *
 * Two forms, chosen by size (measured, also against a convolution with batch and channel swapped: docs/training.md):
 *
 * - Large images: the patches x₀[s·q + t·d − p] are laid out by a depthwise convolution with one-hot kernels (it pads,
 *   strides and dilates, and onnxruntime spreads it over threads; on planes Slice and Pad do neither well); then one
 *   matrix product over q per image, summed over images.
 * - Small images: with channels last, what one tap sees is a Slice that moves whole pixels; one matrix product over all
 *   images and positions per tap.
 */

import { elementCount } from "../../core/tensor.ts";
import { type ConvOptions, channelsLast, conv } from "../convolution.ts";
import type { Emitter } from "../emitter.ts";
import { concat, matmul, pad, reduceSum, reshape, slice, transpose } from "../vocabulary.ts";

/** Below this many output positions one product per tap over the whole batch is faster than one per image (measured). */
const SMALL_IMAGE_POSITIONS = 100;

/** ∂loss/∂weight, `[outC, inC/group, ...kernelShape]`. */
export function convWeightGradient(
  e: Emitter,
  x: string,
  dy: string,
  kernelShape: readonly number[],
  options: ConvOptions,
): string {
  const { group } = options;
  const [n = 0, outC = 0, ...space] = e.shape(dy);
  const inC = e.shape(x)[1]!;
  const positions = elementCount(space);
  const taps = elementCount(kernelShape);
  const rows = (inC / group) * taps;
  const columns = outC / group;
  const weightShape = [outC, inC / group, ...kernelShape];
  if (positions < SMALL_IMAGE_POSITIONS && group === 1) {
    return perTap(e, x, dy, kernelShape, options);
  }
  const patches = patchesOf(e, x, kernelShape, options);
  if (positions < SMALL_IMAGE_POSITIONS) {
    const left = reshape(
      e,
      transpose(e, reshape(e, patches, [n, group, rows, positions]), [1, 2, 0, 3]),
      [group, rows, n * positions],
    );
    const right = reshape(
      e,
      transpose(e, reshape(e, dy, [n, group, columns, positions]), [1, 0, 3, 2]),
      [group, n * positions, columns],
    );
    return reshape(e, transpose(e, matmul(e, left, right), [0, 2, 1]), weightShape);
  }
  const left = reshape(e, patches, [n * group, rows, positions]);
  const right = transpose(e, reshape(e, dy, [n * group, columns, positions]), [0, 2, 1]);
  const products = reshape(e, matmul(e, left, right), [n, group, rows, columns]);
  const sum = reduceSum(e, products, [0], false);
  return reshape(e, transpose(e, sum, [0, 2, 1]), weightShape);
}

/** One product `[outC, n·q] × [n·q, inC]` per tap. */
function perTap(
  e: Emitter,
  x: string,
  dy: string,
  kernelShape: readonly number[],
  options: ConvOptions,
): string {
  const [n = 0, outC = 0, ...space] = e.shape(dy);
  const inC = e.shape(x)[1]!;
  const axes = space.map((_, axis) => axis);
  const count = n * elementCount(space);
  const { beginPads, endPads, strides, dilations } = options;
  const padded = pad(e, channelsLast(e, x), [0, ...beginPads, 0], [0, ...endPads, 0]);
  const left = reshape(e, transpose(e, dy, [1, 0, ...axes.map((axis) => axis + 2)]), [outC, count]);
  const products = tapsOf(kernelShape).map((tap) => {
    const seen = slice(
      e,
      padded,
      axes.map((axis) => {
        const start = tap[axis]! * dilations[axis]!;
        const step = strides[axis]!;
        return { axis: axis + 1, start, end: start + step * (space[axis]! - 1) + 1, step };
      }),
    );
    return reshape(e, matmul(e, left, reshape(e, seen, [count, inC])), [outC, inC, 1]);
  });
  return reshape(e, concat(e, products, 2), [outC, inC, ...kernelShape]);
}

/** All taps of a kernel in C order. */
function tapsOf(kernelShape: readonly number[]): number[][] {
  let taps: number[][] = [[]];
  for (const k of kernelShape) {
    taps = taps.flatMap((tap) => Array.from({ length: k }, (_, t) => [...tap, t]));
  }
  return taps;
}

/** `[n, inC · taps, ...outSpace]`: for each channel, what each tap of the kernel sees. */
function patchesOf(
  e: Emitter,
  x: string,
  kernelShape: readonly number[],
  options: ConvOptions,
): string {
  const inC = e.shape(x)[1]!;
  const taps = elementCount(kernelShape);
  const { strides, beginPads, endPads } = options;
  const plain = [...beginPads, ...endPads].every((p) => p === 0) && strides.every((s) => s === 1);
  if (taps === 1 && plain) return x;
  return conv(e, x, oneHotKernels(e, inC, kernelShape), { ...options, group: inC });
}

/** `[inC · taps, 1, ...kernelShape]`: kernel c·taps + t is 1 at tap t. */
function oneHotKernels(e: Emitter, inC: number, kernelShape: readonly number[]): string {
  const taps = elementCount(kernelShape);
  const eye = new Float64Array(inC * taps * taps);
  for (let row = 0; row < inC * taps; row++) eye[row * taps + (row % taps)] = 1;
  return e.floats([inC * taps, 1, ...kernelShape], eye);
}
