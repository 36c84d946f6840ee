/** @file A hypothesis put into the exact fuse of the whole block, and judged by ω over every number. */

import { add } from "../algebra/add.ts";
import { type Affine, type Bounded, isRefused, NO_BOUNDS } from "../algebra/affine.ts";
import { emission } from "../algebra/emit.ts";
import { type PreparedRows, prepareRows } from "../algebra/prepare-rows.ts";
import { BATCHNORM_BIAS_ROUNDINGS, BATCHNORM_WEIGHT_ROUNDINGS } from "../algebra/scale-shift.ts";
import { sameTaps } from "../algebra/taps.ts";
import type { TaskOptions } from "../core/task.ts";
import { type Deviation, deviation, type Unit } from "../verify/deviation.ts";
import type { Kernel } from "../verify/side.ts";
import type { BlockCertificate } from "../verify/weights.ts";
import { branchKinds, type Hypothesis, tailKind } from "./hypothesis.ts";
import { addRows, emptyRows } from "./layout.ts";
import { type GridFormat, type Tolerance, toleranceOf } from "./samples.ts";
import { outputPermutation } from "./search.ts";
import { type TailFactors, tailFactors } from "./tail.ts";
import type { Variants } from "./variants.ts";

export interface Confirmation {
  /** The faulty fuse. */
  readonly kernel: Kernel;
  readonly k: { readonly weight: number; readonly bias: number };
  readonly deviation: Deviation;
  /** Channels that the hypothesis leaves beyond k. */
  readonly leftOver: readonly number[];
}

/** Undefined when the hypothesis does not apply to the block. */
export async function confirm(
  certificate: BlockCertificate,
  variants: Variants,
  hypothesis: Hypothesis,
  grid: GridFormat | undefined,
  options: TaskOptions = {},
): Promise<Confirmation | undefined> {
  const kernel = await faultyKernel(certificate.pair.expected, variants, hypothesis);
  if (!kernel) return undefined;
  const found = certificate.pair.found!;
  const k = {
    weight: kernel.roundings.weight + found.roundings.weight,
    bias: kernel.roundings.bias + found.roundings.bias,
  };
  const units = unitsOf({ ...toleranceOf(certificate, grid), k });
  const measured = await deviation(kernel, found, units, options.signal);
  const leftOver: number[] = [];
  for (let o = 0; o < measured.weight.channels.length; o++) {
    const within = measured.weight.channels[o]! <= k.weight && measured.bias.channels[o]! <= k.bias;
    if (!within) leftOver.push(o);
  }
  return { kernel, k, deviation: measured, leftOver };
}

/** The size of one of k steps, the narrower grid's share spread over them. */
export function unitsOf({ k, unit, floor, gridStep, gridFloor }: Tolerance): {
  weight: Unit;
  bias: Unit;
} {
  const rounding = gridStep === 0 ? { relative: unit, floor } : undefined;
  const unitFor = (steps: number): Unit => {
    const share = 1 / Math.max(1, steps);
    return {
      at: (exact, bound) => unit * bound + floor + share * (gridStep * Math.abs(exact) + gridFloor),
      ...(rounding ? { rounding } : {}),
    };
  };
  return { weight: unitFor(k.weight), bias: unitFor(k.bias) };
}

/** The exact fuse of the block with the hypothesis' faults in it. */
export async function faultyKernel(
  expected: Kernel,
  variants: Variants,
  hypothesis: Hypothesis,
): Promise<Kernel | undefined> {
  const { anatomy, layout } = variants;
  const parts: Affine[] = [];
  let [moreWeight, moreBias] = [0, 0];
  for (const [j, branch] of anatomy.branches.entries()) {
    const v = await variants.affine(j, branchKinds(hypothesis, j, variants));
    if (v === undefined) return undefined;
    if (v === null) continue;
    parts.push(v);
    moreWeight = Math.max(moreWeight, v.roundings.weight - branch.affine.roundings.weight);
    moreBias = Math.max(moreBias, v.roundings.bias - branch.affine.roundings.bias);
  }
  for (const { kind: name } of hypothesis) {
    const extra = variants.extras.get(name);
    if (!extra) continue;
    parts.push(extra);
    // As `add` counts: the most that either side has, and the sum's own. An extra branch has no bias.
    moreWeight += Math.max(0, extra.roundings.weight - expected.roundings.weight) + 1;
  }
  const kind = tailKind(hypothesis);
  const factors = anatomy.tail.length > 0 ? await tailFactors(anatomy, kind) : undefined;
  // A tail's batch norm folded twice is one more batch norm's roundings; its bias is added to one that is there.
  const [tailWeight, tailBias] =
    kind === "twice" ? [BATCHNORM_WEIGHT_ROUNDINGS, BATCHNORM_BIAS_ROUNDINGS + 1] : [0, 0];
  const permutation = outputPermutation(
    hypothesis,
    layout.axes.map((axis) => axis.taps.count),
  );
  const withoutBias = hypothesis.some((fault) => fault.kind === "bias");
  return sumOfParts(expected, variants, parts, {
    weight: moreWeight + tailWeight,
    bias: moreBias + tailBias,
    factors,
    permutation,
    withoutBias,
  });
}

interface SumOptions {
  /** Roundings more than the right fuse makes. */
  readonly weight?: number;
  readonly bias?: number;
  /** The tail; as it should be where it is left out. */
  readonly factors?: TailFactors | undefined;
  readonly permutation?: Int32Array | undefined;
  readonly withoutBias?: boolean;
}

/** The kernel that these parts add up to. */
export function sumOfParts(
  expected: Kernel,
  variants: Variants,
  parts: readonly Affine[],
  { weight = 0, bias: more = 0, factors, permutation, withoutBias = false }: SumOptions,
): Kernel {
  const { anatomy, layout } = variants;
  const rows: Kernel["rows"] = async (begin, end, bounds) => {
    const total = emptyRows(layout, end - begin, bounds);
    for (const part of parts) await addRows(part, layout, begin, end, total);
    if (factors) scaleRows(total, factors.scale, begin, layout.rowSize);
    return permutation ? rearranged(total, permutation) : total;
  };
  // Kernels that keep the block's own shape are computed the way certificate A computes the exact one.
  const whole = factors || permutation ? undefined : sumOf(parts, variants);
  return {
    ...expected,
    roundings: {
      weight: expected.roundings.weight + weight,
      bias: expected.roundings.bias + more,
    },
    rows,
    prepare: (begin, end) =>
      whole
        ? prepareRows(whole, emission(anatomy.affine), begin, end)
        : preparedFrom(rows, layout.rowSize, begin, end),
    biases: async () => {
      const values = new Float64Array(layout.outC);
      const bounds = new Float64Array(layout.outC);
      if (withoutBias) return { values, bounds };
      for (const part of parts) {
        const bias = await part.biases();
        for (let o = 0; o < layout.outC; o++) {
          values[o] = values[o]! + bias.values[o]!;
          bounds[o] = bounds[o]! + bias.bounds[o]!;
        }
      }
      if (factors) {
        for (let o = 0; o < layout.outC; o++) {
          values[o] = values[o]! * factors.scale[o]! + factors.shift[o]!;
          bounds[o] = bounds[o]! * Math.abs(factors.scale[o]!) + factors.shiftBound[o]!;
        }
      }
      return { values, bounds };
    },
  };
}

/** The parts as one affine value, if it has the taps and the channels of the block's own. */
function sumOf(parts: readonly Affine[], { anatomy, layout }: Variants): Affine | undefined {
  let total: Affine | undefined;
  for (const part of parts) {
    const next = total ? add(total, part) : part;
    if (isRefused(next)) return undefined;
    total = next;
  }
  const own = anatomy.affine;
  const same =
    total?.axes.every((axis, i) => sameTaps(axis.taps, own.axes[i]!.taps)) &&
    total.support.width === own.support.width &&
    layout.width === emission(own).inC / emission(own).group;
  return same ? total : undefined;
}

/** Rows computed once, with their bounds, as `deviation` wants to read them. */
export async function preparedFrom(
  rows: Kernel["rows"],
  rowSize: number,
  begin: number,
  end: number,
): Promise<PreparedRows> {
  const all = await rows(begin, end, true);
  return {
    compute: (from, to, values, bounds) => {
      const part = [(from - begin) * rowSize, (to - begin) * rowSize] as const;
      values.set(all.values.subarray(...part));
      bounds?.set(all.bounds.subarray(...part));
    },
    rowSize,
    assertStoredFinite: async () => undefined,
  };
}

function scaleRows(rows: Bounded, scale: Float64Array, begin: number, rowSize: number): void {
  for (let i = 0; i < rows.values.length; i++) {
    const s = scale[begin + Math.floor(i / rowSize)]!;
    rows.values[i] = rows.values[i]! * s;
    if (rows.bounds.length > 0) rows.bounds[i] = rows.bounds[i]! * Math.abs(s);
  }
}

function rearranged(rows: Bounded, permutation: Int32Array): Bounded {
  const taps = permutation.length;
  const arrange = (from: Float64Array): Float64Array =>
    from.map((_, i) => from[i - (i % taps) + permutation[i % taps]!]!);
  return {
    values: arrange(rows.values),
    bounds: rows.bounds.length > 0 ? arrange(rows.bounds) : NO_BOUNDS,
  };
}
