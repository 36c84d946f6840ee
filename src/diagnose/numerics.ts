/**
 * @file Numbers about numbers: how strongly branches cancel, filters that hardly act, what half precision would do, how
 * rounding errors grow with depth, and whether any of it can change a decision.
 */

import { decodeFloat64, UNIT_ROUNDOFF } from "../core/dtype.ts";
import { throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { elementCount, type Tensor } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import { planReparam } from "../rewrite/plan.ts";
import { createReference } from "../runtime/reference.ts";
import type { Runtime } from "../runtime/session.ts";
import { runWithTaps } from "../runtime/tap.ts";
import { outputMetrics } from "../verify/metrics.ts";
import type { Kernel } from "../verify/side.ts";
import type { Verification } from "../verify/verify.ts";

export interface ChannelNote {
  readonly block: string;
  readonly channel: number;
  readonly value: number;
}

export interface DepthError {
  /** The value after a fused part, in order. */
  readonly value: string;
  /** ‖T32 − T64‖ / ‖T64‖ there. */
  readonly relativeL2: number;
}

export interface Numerics {
  /** Largest κ = ΣA / Σ|W*| of a filter: how many times larger the summed branches are than their sum. */
  readonly cancellation: readonly ChannelNote[];
  /** Filters whose largest weight is below 2⁻²⁴ of the block's median filter. */
  readonly nearlyDead: readonly ChannelNote[];
  /** Blocks with numbers that float16 cannot hold (above 65504). */
  readonly halfOverflow: readonly ChannelNote[];
  /** Share of all weights that float16 would round to zero. */
  readonly halfLost: number;
  /** Empty where the net was not run. */
  readonly growth: readonly DepthError[];
  /** Whether the difference of the forms can change a decision, in a sentence; undefined where the nets were not run. */
  readonly matters: string | undefined;
}

/** The largest float16, (2 − 2⁻¹⁰)·2¹⁵. */
const HALF_MAX = 65504;
/** Half of float16's smallest subnormal: below, rounding gives zero. */
const HALF_TINY = 2 ** -25;
/** Added to its neighbours' outputs in float32, such a filter's is less than their rounding. */
const NEARLY_DEAD = UNIT_ROUNDOFF.float32;
const MAX_NOTES = 5;
/** Numbers read at once, as in the certificate. */
const CHUNK_ELEMENTS = 2 ** 18;
/** Values looked at by depth: all of a usual net's blocks. */
const MAX_TAPS = 48;

export async function weightNumerics(
  verification: Verification,
  options: TaskOptions,
): Promise<Omit<Numerics, "growth" | "matters">> {
  const cancellation: ChannelNote[] = [];
  const nearlyDead: ChannelNote[] = [];
  const halfOverflow: ChannelNote[] = [];
  let [lost, all] = [0, 0];
  for (const kernel of verification.training.fused) {
    throwIfAborted(options.signal);
    const stats = await kernelStatistics(kernel);
    lost += stats.lost;
    all += elementCount(kernel.shape);
    cancellation.push(...stats.cancellation);
    nearlyDead.push(...stats.dead);
    if (stats.overflow) halfOverflow.push(stats.overflow);
  }
  const most = (notes: ChannelNote[], sign: 1 | -1): ChannelNote[] =>
    notes.sort((a, b) => sign * (b.value - a.value)).slice(0, MAX_NOTES);
  return {
    cancellation: most(cancellation, 1),
    nearlyDead: most(nearlyDead, -1),
    halfOverflow: most(halfOverflow, 1),
    halfLost: all === 0 ? 0 : lost / all,
  };
}

interface KernelStatistics {
  readonly cancellation: readonly ChannelNote[];
  readonly dead: readonly ChannelNote[];
  readonly overflow: ChannelNote | undefined;
  readonly lost: number;
}

async function kernelStatistics(kernel: Kernel): Promise<KernelStatistics> {
  const outC = kernel.shape[0] ?? 0;
  const size = elementCount(kernel.shape.slice(1));
  const largest = new Float64Array(outC);
  const kappa = new Float64Array(outC);
  let lost = 0;
  const step = Math.max(1, Math.floor(CHUNK_ELEMENTS / Math.max(1, size)));
  const values = new Float64Array(Math.min(step, outC) * size);
  const bounds = new Float64Array(values.length);
  for (let begin = 0; begin < outC; begin += step) {
    const end = Math.min(outC, begin + step);
    const rows = await kernel.prepare(begin, end);
    rows.compute(begin, end, values, bounds);
    for (let o = begin; o < end; o++) {
      const row = rowStatistics(values, bounds, (o - begin) * size, (o - begin + 1) * size);
      largest[o] = row.largest;
      kappa[o] = row.sum === 0 ? 0 : row.sumBounds / row.sum;
      lost += row.lost;
    }
  }
  const note = (channel: number, value: number): ChannelNote => ({
    block: kernel.name,
    channel,
    value,
  });
  const median = [...largest].sort((a, b) => a - b)[Math.floor(outC / 2)] ?? 0;
  const top = indexOfMost(kappa);
  const biases = (await kernel.biases()).values.map(Math.abs);
  const most = Math.max(0, ...largest, ...biases);
  const dead = [...largest.keys()].filter((o) => largest[o]! < NEARLY_DEAD * median);
  return {
    cancellation: outC === 0 ? [] : [note(top, kappa[top]!)],
    dead: dead.map((o) => note(o, median === 0 ? 0 : largest[o]! / median)),
    overflow: most > HALF_MAX ? note(indexOfMost(largest), most) : undefined,
    lost,
  };
}

interface RowStatistics {
  readonly sum: number;
  readonly sumBounds: number;
  readonly largest: number;
  readonly lost: number;
}

function rowStatistics(
  values: Float64Array,
  bounds: Float64Array,
  from: number,
  to: number,
): RowStatistics {
  let sum = 0;
  let sumBounds = 0;
  let largest = 0;
  let lost = 0;
  for (let i = from; i < to; i++) {
    const magnitude = Math.abs(values[i]!);
    sum += magnitude;
    sumBounds += bounds[i]!;
    largest = Math.max(largest, magnitude);
    if (magnitude < HALF_TINY && magnitude !== 0) lost++;
  }
  return { sum, sumBounds, largest, lost };
}

function indexOfMost(values: Float64Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** Float32 against float64 after every fused part of the training form. */
export async function errorGrowth(
  model: Model,
  runtime: Runtime,
  inputs: ReadonlyMap<string, Tensor>,
  options: TaskOptions,
): Promise<DepthError[]> {
  const { regions } = await planReparam(model, { allowCostlier: false });
  const step = Math.max(1, Math.ceil(regions.length / MAX_TAPS));
  const taps = regions.filter((_, i) => i % step === 0).map((region) => region.output);
  if (taps.length === 0) return [];
  const shapes = new Map([...inputs].map(([name, value]) => [name, value.shape]));
  const single = await runWithTaps(model, runtime, taps, inputs, options);
  const reference = await createReference(model, runtime, shapes, { taps });
  try {
    const truth = await reference.run(inputs, undefined, options);
    return taps.map((value) => {
      const { bytes, dtype } = single.get(value)!;
      const measured = outputMetrics(truth.get(value)!.data, decodeFloat64(bytes, dtype));
      return { value, relativeL2: measured.relativeL2 };
    });
  } finally {
    await reference.release();
  }
}

/** Can what the conversion changed flip a decision? From certificate C's outputs. */
export function doesItMatter({ whole }: Verification): string | undefined {
  const output = whole?.outputs.find((candidate) => candidate.decisions);
  if (!output?.decisions) return undefined;
  const { smallestMargin, largestChange, agreeing, total } = output.decisions;
  const short = (value: number): string => value.toPrecision(2);
  if (largestChange === 0)
    return "The outputs are equal bit by bit on these inputs: no label can flip.";
  if (agreeing < total) return `${total - agreeing} of ${total} labels flip: it matters.`;
  const times = smallestMargin / (2 * largestChange);
  const reach = `a label can flip only where its margin is below ${short(2 * largestChange)}; the smallest margin seen is ${short(smallestMargin)}`;
  return times > 1
    ? `It does not matter on these inputs: ${reach}, ${short(times)} times as much.`
    : `It may matter: ${reach}.`;
}
