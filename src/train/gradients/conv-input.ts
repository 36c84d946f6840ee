/**
 * @file The input gradient of a convolution.
 *
 *     x̄[i] = Σ_t w[t] · ȳ[(i + p − t·d) / s]        over the taps t for which s divides i + p − t·d
 *
 * That is what ConvTranspose computes with the same weight. Two cases go faster in another form (docs/training.md):
 *
 * - stride 1: the ordinary convolution of ȳ with the flipped kernel, input and output channels exchanged;
 * - larger strides where the blocked convolution fits: one convolution for all phases (`phase-convolution.ts`).
 */

import { elementCount, type Shape } from "../../core/tensor.ts";
import {
  blockedConv,
  blockedGradientKernel,
  type ConvOptions,
  conv,
  fitsBlocks,
  fromBlocked,
} from "../convolution.ts";
import type { Emitter } from "../emitter.ts";
import { gather, reshape, slice, transpose } from "../vocabulary.ts";
import { phaseConvolution } from "./phase-convolution.ts";

/**
 * ∂loss/∂x, `[n, inC, ...]`.
 *
 * @param dy `[n, outC, ...]`
 * @param weight `[outC, inC/group, ...kernelShape]`
 */
export function convInputGradient(
  e: Emitter,
  dy: string,
  weight: string,
  xShape: Shape,
  options: ConvOptions,
): string {
  if (options.strides.every((stride) => stride === 1)) {
    return flippedConvolution(e, dy, weight, options);
  }
  return (
    phaseConvolution(e, dy, weight, xShape, options) ??
    convTranspose(e, dy, weight, xShape, options)
  );
}

function flippedConvolution(e: Emitter, dy: string, weight: string, options: ConvOptions): string {
  const { group, dilations } = options;
  const [outC = 0, perGroup = 0, ...kernelShape] = e.shape(weight);
  const pads = (forward: readonly number[]): number[] =>
    kernelShape.map((k, i) => dilations[i]! * (k - 1) - forward[i]!);
  const [begin, end] = [pads(options.beginPads), pads(options.endPads)];
  // More padding than the kernel reaches: those gradients belong to padding alone and are cut off.
  const cropped = slice(
    e,
    dy,
    kernelShape.map((_, i) => ({
      axis: i + 2,
      start: Math.max(-begin[i]!, 0),
      end: e.shape(dy)[i + 2]! - Math.max(-end[i]!, 0),
    })),
  );
  const window = {
    ...options,
    beginPads: begin.map((n) => Math.max(n, 0)),
    endPads: end.map((n) => Math.max(n, 0)),
  };
  // Reversing the flat taps reverses every axis.
  const taps = elementCount(kernelShape);
  const reversed = Array.from({ length: taps }, (_, t) => taps - 1 - t);
  if (group === 1 && fitsBlocks(e, [outC, perGroup], kernelShape.length)) {
    const kernel = blockedGradientKernel(e, weight, reversed, kernelShape);
    return fromBlocked(e, blockedConv(e, cropped, kernel, window));
  }
  const split = reshape(e, weight, [group, outC / group, perGroup, taps]);
  const flat = [group * perGroup, outC / group, taps];
  const turned = reshape(e, transpose(e, split, [0, 2, 1, 3]), flat);
  const flipped = taps === 1 ? turned : gather(e, turned, reversed, 2);
  const kernel = reshape(e, flipped, [group * perGroup, outC / group, ...kernelShape]);
  return conv(e, cropped, kernel, window);
}

function convTranspose(
  e: Emitter,
  dy: string,
  weight: string,
  xShape: Shape,
  options: ConvOptions,
): string {
  const { strides, dilations, beginPads, endPads, group } = options;
  const kernelShape = e.shape(weight).slice(2);
  // Input positions behind the last window: at most stride − 1, which is what output_padding may be.
  const rest = kernelShape.map((k, i) => {
    const covered =
      (e.shape(dy)[i + 2]! - 1) * strides[i]! +
      dilations[i]! * (k - 1) +
      1 -
      beginPads[i]! -
      endPads[i]!;
    return xShape[i + 2]! - covered;
  });
  return e.node("ConvTranspose", [dy, weight], xShape, {
    kernel_shape: kernelShape,
    strides,
    dilations,
    pads: [...beginPads, ...endPads],
    output_padding: rest,
    group,
  });
}
