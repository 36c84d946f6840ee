/**
 * @file Convolution, with onnxruntime's blocked-channel kernels where they can be used.
 *
 * onnxruntime's CPU provider has a second convolution, `com.microsoft.nchwc` Conv, that works on blocks of 8 or 16
 * channels; measured 2 to 10 times as fast as the ordinary one on small images. Its optimizer only uses it for constant
 * weights, and in training no weight is constant, so the training graph asks for it by name. The block size depends on
 * the processor and cannot be asked for: `findChannelBlock` tries.
 */

import { float32View } from "../core/dtype.ts";
import { createRng } from "../core/rng.ts";
import { float32Tensor, type Shape, type Tensor } from "../core/tensor.ts";
import type { AttributeInputs } from "../ir/builder.ts";
import type { Runtime } from "../runtime/session.ts";
import { createEmitter, type Emitter } from "./emitter.ts";
import { concat, expand, gather, reshape, transpose } from "./vocabulary.ts";

export const BLOCKED_DOMAIN = "com.microsoft.nchwc";
const BLOCKED = { domain: BLOCKED_DOMAIN };

export interface ConvOptions {
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly beginPads: readonly number[];
  readonly endPads: readonly number[];
  readonly group: number;
}

/** `[n, inC, ...] ∗ [outC, inC/group, ...]`, with the pads ONNX allows (none negative). */
export function conv(e: Emitter, x: string, weight: string, options: ConvOptions): string {
  const [outC = 0, inC = 0, ...kernelShape] = e.shape(weight);
  if (options.group === 1 && fitsBlocks(e, [inC, outC], kernelShape.length)) {
    return fromBlocked(e, blockedConv(e, x, blockedKernel(e, weight), options));
  }
  const { shape, attributes } = convResult(e.shape(x), e.shape(weight), options);
  return e.node("Conv", [x, weight], shape, attributes);
}

/** Whether the blocked kernel takes these channel counts. */
export function fitsBlocks(e: Emitter, channels: readonly number[], spatialRank: number): boolean {
  const block = e.channelBlock;
  return block !== undefined && spatialRank === 2 && channels.every((n) => n % block === 0);
}

/** A kernel of shape `[outC, inC, h, w]` in the blocked order `[outC/b, inC/b, h, w, b of inC, b of outC]`. */
export interface BlockedKernel {
  readonly value: string;
  readonly shape: Shape;
}

/** A convolution of an ordinary `x` whose result stays blocked: `[n, outC/b, h, w, b]` under the ordinary shape. */
export function blockedConv(
  e: Emitter,
  x: string,
  kernel: BlockedKernel,
  options: ConvOptions,
): string {
  const { shape, attributes } = convResult(e.shape(x), kernel.shape, options);
  return e.node("Conv", [toBlocked(e, x), kernel.value], shape, attributes, BLOCKED);
}

/** An ordinary value `[n, c, h, w]` as `[n, c/b, h, w, b]` under the same shape. */
function toBlocked(e: Emitter, value: string): string {
  return e.node("ReorderInput", [value], e.shape(value), {}, BLOCKED);
}

/** A blocked value in the ordinary order. */
export function fromBlocked(e: Emitter, value: string): string {
  const shape = e.shape(value);
  return e.node("ReorderOutput", [value], shape, { channels: shape[1]! }, BLOCKED);
}

function convResult(
  xShape: Shape,
  wShape: Shape,
  options: ConvOptions,
): { shape: Shape; attributes: AttributeInputs } {
  const { strides, dilations, beginPads, endPads, group } = options;
  const space = xShape.slice(2).map((size, i) => {
    const reach = dilations[i]! * (wShape[i + 2]! - 1) + 1;
    return Math.floor((size + beginPads[i]! + endPads[i]! - reach) / strides[i]!) + 1;
  });
  const pads = [...beginPads, ...endPads];
  return {
    shape: [xShape[0]!, wShape[0]!, ...space],
    attributes: { kernel_shape: wShape.slice(2), strides, dilations, pads, group },
  };
}

/**
 * In two steps, because onnxruntime is fast at moving one axis and at moving whole blocks, and slow at anything else
 * (measured: 0.15 against 0.6 ms for 128 × 128 × 3 × 3).
 */
function blockedKernel(e: Emitter, weight: string): BlockedKernel {
  const block = e.channelBlock!;
  const [o = 0, i = 0, h = 0, w = 0] = e.shape(weight);
  const outLast = transpose(e, reshape(e, weight, [o / block, block, i * h * w]), [0, 2, 1]);
  const open = reshape(e, outLast, [o / block, i / block, block, h * w, block]);
  const value = reshape(e, transpose(e, open, [0, 1, 3, 2, 4]), [o, i, h, w]);
  return { value, shape: [o, i, h, w] };
}

/**
 * The kernel of an input gradient: channels exchanged, taps picked per phase.
 *
 * @param weight `[outC, inC, ...taps]`
 * @param picks flat taps, phase by phase; one past the last tap is a zero
 * @param places kernel height and width within a phase
 * @returns of shape `[phases · inC, outC, ...places]`
 */
export function blockedGradientKernel(
  e: Emitter,
  weight: string,
  picks: readonly number[],
  places: readonly number[],
): BlockedKernel {
  const block = e.channelBlock!;
  const [o = 0, i = 0, h = 0, w = 0] = e.shape(weight);
  const tapsFirst = transpose(e, reshape(e, weight, [o, i, h * w]), [2, 0, 1]);
  const hasHoles = picks.includes(h * w);
  const zero = hasHoles ? [expand(e, e.scalar(0), [1, o, i])] : [];
  const picked = gather(e, concat(e, [tapsFirst, ...zero], 0), picks, 0);
  const count = places.reduce((m, n) => m * n, 1);
  const phases = picks.length / count;
  const open = reshape(e, picked, [phases, count, o / block, block, i / block, block]);
  const shape = [phases * i, o, ...places];
  return { value: reshape(e, transpose(e, open, [0, 4, 2, 1, 3, 5]), shape), shape };
}

/** `[n, c, h, w]` as `[n, h, w, c]`; by way of the blocked order, which a convolution of the value needs anyway. */
export function channelsLast(e: Emitter, value: string): string {
  const [n = 0, c = 0, h = 0, w = 0, ...more] = e.shape(value);
  const rank = e.shape(value).length;
  const block = e.channelBlock;
  if (rank !== 4 || more.length > 0 || block === undefined || c % block !== 0) {
    const space = Array.from({ length: rank - 2 }, (_, axis) => axis + 2);
    return transpose(e, value, [0, ...space, 1]);
  }
  const open = reshape(e, toBlocked(e, value), [n, c / block, h * w, block]);
  return reshape(e, transpose(e, open, [0, 2, 1, 3]), [n, h, w, c]);
}

/**
 * The block size with which the runtime's blocked convolution computes the ordinary one, or undefined where the runtime
 * has none (WebAssembly) or disagrees for every size.
 */
export async function findChannelBlock(runtime: Runtime): Promise<number | undefined> {
  const rng = createRng(1);
  const random = (shape: readonly number[]): Tensor =>
    float32Tensor(
      shape,
      Array.from({ length: shape.reduce((m, n) => m * n) }, () => rng.uniform(-1, 1)),
    );
  const inputs = new Map([
    ["x", random([1, 32, 3, 3])],
    ["w", random([32, 32, 3, 3])],
  ]);
  const expected = await runProbe(runtime, undefined, inputs);
  for (const block of [16, 8]) {
    const found = await runProbe(runtime, block, inputs).catch(() => undefined);
    // Sums of 288 products below 1: float32 orders differ by less than 288² · 2⁻²⁴; a wrong layout is off by about 1.
    if (found?.every((value, i) => Math.abs(value - expected[i]!) < 5e-3)) return block;
  }
  return undefined;
}

async function runProbe(
  runtime: Runtime,
  channelBlock: number | undefined,
  inputs: ReadonlyMap<string, Tensor>,
): Promise<Float32Array> {
  const e = createEmitter({
    dtype: "float32",
    name: "blocked-convolution-probe",
    channelBlock,
    domains: new Map(channelBlock === undefined ? [] : [[BLOCKED_DOMAIN, 1]]),
  });
  const [x = "", w = ""] = [...inputs].map(([name, value]) =>
    e.input(name, "float32", value.shape),
  );
  const options = {
    strides: [1, 1],
    dilations: [1, 1],
    beginPads: [1, 1],
    endPads: [1, 1],
    group: 1,
  };
  const y = conv(e, x, w, options);
  e.output(y, "float32");
  const session = await runtime.createSession(e.builder.build());
  try {
    return float32View((await session.run(inputs)).get(y)!.bytes);
  } finally {
    await session.release();
  }
}
