/**
 * @file The input gradient of a strided convolution as one stride-1 convolution, for the blocked kernel.
 *
 * Input positions i = s·q + r fall into s phases per axis. Within a phase the taps that contribute are fixed, and ȳ is
 * read at q + (r + p − t·d)/s: a stride-1 convolution. All s × s phases run as one convolution with s² times the output
 * channels; their results are then interleaved. Blocks of channels stay together when they are moved, which is what makes
 * the interleaving fast enough. The gradients of several branches are added before they are interleaved.
 */

import type { Shape } from "../../core/tensor.ts";
import {
  blockedConv,
  blockedGradientKernel,
  type ConvOptions,
  fitsBlocks,
  fromBlocked,
} from "../convolution.ts";
import type { Emitter } from "../emitter.ts";
import { add, reshape, slice, transpose } from "../vocabulary.ts";

/** Along one axis: which tap, or none (-1), stands at each place of each phase's kernel. */
interface AxisPlan {
  readonly stride: number;
  /** `[phase][place]` */
  readonly taps: readonly (readonly number[])[];
  readonly beginPad: number;
  readonly endPad: number;
}

interface Interleaved {
  /** Blocked, `[n, phases · inC, ...positions]`. */
  readonly phases: string;
  readonly strides: readonly number[];
  readonly xShape: Shape;
}

/** By emitter and value: what a value was interleaved from, so that sums can be formed before. */
const SOURCES = new WeakMap<Emitter, Map<string, Interleaved>>();

/** ∂loss/∂x, or undefined where the blocked convolution does not fit. Shapes as in `convInputGradient`. */
export function phaseConvolution(
  e: Emitter,
  dy: string,
  weight: string,
  xShape: Shape,
  options: ConvOptions,
): string | undefined {
  const [outC = 0, inC = 0, ...kernelShape] = e.shape(weight);
  const space = e.shape(dy).slice(2);
  const plans = kernelShape.map((k, axis) =>
    planAxis(xShape[axis + 2]!, space[axis]!, k, axis, options),
  );
  // Negative pads would have to be cut off first; a kernel smaller than its stride with pads is the only such case.
  const padded = plans.every((plan) => plan.beginPad >= 0 && plan.endPad >= 0);
  if (!padded || options.group !== 1 || !fitsBlocks(e, [inC, outC], plans.length)) return undefined;
  const places = plans.map((plan) => plan.taps[0]!.length);
  const kernel = blockedGradientKernel(e, weight, picksOf(plans, kernelShape), places);
  const phases = blockedConv(e, dy, kernel, {
    strides: plans.map(() => 1),
    dilations: plans.map(() => 1),
    beginPads: plans.map((plan) => plan.beginPad),
    endPads: plans.map((plan) => plan.endPad),
    group: 1,
  });
  return interleave(e, { phases, strides: options.strides, xShape });
}

/** a + b, added before the interleaving where both are interleaved alike. */
export function addGradients(e: Emitter, a: string, b: string): string {
  const sources = SOURCES.get(e);
  const [x, y] = [sources?.get(a), sources?.get(b)];
  const alike =
    x &&
    y &&
    x.strides.join() === y.strides.join() &&
    e.shape(x.phases).join() === e.shape(y.phases).join();
  if (!alike) return add(e, a, b);
  return interleave(e, { ...x, phases: add(e, x.phases, y.phases) });
}

function planAxis(
  size: number,
  dySize: number,
  k: number,
  axis: number,
  options: ConvOptions,
): AxisPlan {
  const stride = options.strides[axis]!;
  const positions = Math.ceil(size / stride);
  const offsets = Array.from({ length: stride }, (_, phase) =>
    Array.from(
      { length: k },
      (_, tap) => (phase + options.beginPads[axis]! - tap * options.dilations[axis]!) / stride,
    ),
  );
  const whole = offsets.flat().filter(Number.isInteger);
  const low = Math.min(...whole);
  const length = Math.max(...whole) - low + 1;
  const taps = offsets.map((row) => Array.from({ length }, (_, place) => row.indexOf(low + place)));
  const beginPad = 0 - low; // not -low: -0 is no attribute value
  return { stride, taps, beginPad, endPad: positions - dySize - beginPad + length - 1 };
}

/** All axes' phases and places in C order, each as a flat tap; one past the last tap is the zero. */
function picksOf(plans: readonly AxisPlan[], kernelShape: Shape): number[] {
  const none = kernelShape.reduce((m, n) => m * n, 1);
  let rows: number[][] = [[0]];
  for (const [axis, plan] of plans.entries()) {
    const k = kernelShape[axis]!;
    rows = rows.flatMap((row) =>
      plan.taps.map((places) =>
        row.flatMap((prefix) =>
          places.map((tap) => (prefix < 0 || tap < 0 ? -1 : prefix * k + tap)),
        ),
      ),
    );
  }
  return rows.flat().map((tap) => (tap < 0 ? none : tap));
}

/** Blocked `[n, phases · c, h, w]` → `[n, c, ...size]`: phase r of axis position q is element s·q + r. */
function interleave(e: Emitter, source: Interleaved): string {
  const { phases, strides, xShape } = source;
  const block = e.channelBlock!;
  const [n = 0, c = 0] = xShape;
  const [sh = 1, sw = 1] = strides;
  const [h = 0, w = 0] = e.shape(phases).slice(2);
  const open = reshape(e, phases, [n, sh, sw, c / block, h, w, block]);
  const turned = transpose(e, open, [0, 3, 4, 1, 5, 2, 6]); // [n, c/block, h, sh, w, sw, block]
  const whole = fromBlocked(e, reshape(e, turned, [n, c, h * sh, w * sw]));
  const value = slice(e, whole, [
    { axis: 2, start: 0, end: xShape[2]! },
    { axis: 3, start: 0, end: xShape[3]! },
  ]);
  const sources = SOURCES.get(e) ?? new Map<string, Interleaved>();
  SOURCES.set(e, sources.set(value, source));
  return value;
}
