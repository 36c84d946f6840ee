/**
 * @file A few numbers of a block at which hypotheses are tried first: some channels that differ, in each a few input
 * channels with all their taps. A wrong hypothesis fails at the first of them.
 */

import type { Affine } from "../algebra/affine.ts";
import { SMALLEST_SUBNORMAL, UNIT_ROUNDOFF } from "../core/dtype.ts";
import { loweredStep, onGrid } from "../verify/precision.ts";
import type { BlockCertificate } from "../verify/weights.ts";
import { firstChannel, type Layout, pickPositions } from "./layout.ts";

/** One output channel, and the positions of its row that are looked at. */
export interface Site {
  readonly o: number;
  readonly positions: Int32Array;
}

/** The deploy kernel's numbers at the sites. */
export interface Sampled {
  /** Per site. */
  readonly values: readonly Float64Array[];
  readonly bias: Float64Array;
}

/** Numbers of one row of a part at a site's positions. */
export interface SampledRow {
  readonly values: Float64Array;
  readonly bounds: Float64Array;
}

/** A part of a block at the sites; computed site by site, because most hypotheses fail at the first. */
export interface SampledAffine {
  /** Rows computed so far, by site. */
  readonly ready: readonly (SampledRow | undefined)[];
  row(s: number): Promise<SampledRow>;
  /** Bias and its bound. */
  bias(s: number): Promise<readonly [number, number]>;
}

export type GridFormat = "float16" | "bfloat16" | "tfloat32";

/** How far a right number may be off: `k` roundings, and one step of a narrower format where all lies on its grid. */
export interface Tolerance {
  readonly k: { readonly weight: number; readonly bias: number };
  readonly unit: number;
  readonly floor: number;
  readonly grid: GridFormat | undefined;
  readonly gridStep: number;
  readonly gridFloor: number;
}

/**
 * How much is looked at before the whole block is: effort alone, since nothing is believed before all numbers agree.
 * Three filters let one of them be altered besides; six input channels with nine taps are 54 numbers for the unknowns of
 * a block, and a wrong hypothesis passes one of them with probability 2k / 2²⁴.
 */
const SITES = 3;
const CHANNELS_PER_SITE = 6;
/** For large kernels fewer input channels do: the unknowns are as many, and each channel has more taps. */
const MAX_POSITIONS = 512;
/** A float32 lies on TF32's grid, the finest, by chance once in 2¹³: eight of them once in 2¹⁰⁴. */
const MIN_GRID_EVIDENCE = 8;

export function chooseSites(layout: Layout, badChannels: readonly number[], inC: number): Site[] {
  const count = Math.min(SITES, badChannels.length);
  const chosen = new Set<number>();
  for (let i = 0; i < count; i++) {
    const at = count === 1 ? 0 : Math.round((i * (badChannels.length - 1)) / (count - 1));
    chosen.add(badChannels[at]!);
  }
  return [...chosen].map((o) => ({ o, positions: positionsOf(layout, o, inC) }));
}

function positionsOf(layout: Layout, o: number, inC: number): Int32Array {
  const most = Math.max(2, Math.floor(MAX_POSITIONS / layout.taps));
  const count = Math.min(CHANNELS_PER_SITE, most, layout.width);
  const channels = new Set<number>();
  // The identity's own channel decides about it.
  const own = o - firstChannel(layout, o);
  if (inC === layout.outC && own >= 0 && own < layout.width) channels.add(own);
  for (let i = 0; channels.size < count && i < layout.width; i++) {
    channels.add(Math.floor(((i + 0.5) * layout.width) / count) % layout.width);
    if (i >= count) channels.add(i);
  }
  return Int32Array.from(
    [...channels].flatMap((c) => range(layout.taps).map((t) => c * layout.taps + t)),
  );
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

export function sampleAffine(v: Affine, layout: Layout, sites: readonly Site[]): SampledAffine {
  const ready: (SampledRow | undefined)[] = sites.map(() => undefined);
  let biases: ReturnType<Affine["biases"]> | undefined;
  return {
    ready,
    row: async (s) => {
      const { o, positions } = sites[s]!;
      const part = await v.weights(o, o + 1, true);
      const sampled = {
        values: new Float64Array(positions.length),
        bounds: new Float64Array(positions.length),
      };
      for (const [i, at] of pickPositions(v, layout, o, positions).entries()) {
        if (at < 0) continue;
        sampled.values[i] = part.values[at]!;
        sampled.bounds[i] = part.bounds[at]!;
      }
      ready[s] = sampled;
      return sampled;
    },
    bias: async (s) => {
      biases ??= v.biases();
      const { values, bounds } = await biases;
      const { o } = sites[s]!;
      return [values[o]!, bounds[o]!];
    },
  };
}

export async function sampleFound(
  certificate: BlockCertificate,
  sites: readonly Site[],
): Promise<Sampled> {
  const found = certificate.pair.found!;
  const { values: biases } = await found.biases();
  const values: Float64Array[] = [];
  for (const { o, positions } of sites) {
    const row = await found.rows(o, o + 1, false);
    values.push(Float64Array.from(positions, (p) => row.values[p]!));
  }
  return { values, bias: Float64Array.from(sites, ({ o }) => biases[o]!) };
}

/**
 * A screening must not reject a right hypothesis, and a faulty fuse may round more often than the right one: at most by
 * one more batch norm (4, its bias 6), and no block with a batch norm has a smaller k. What passes is judged by its own.
 */
const SCREENING_FACTOR = 2;
/** One more branch: its sum, and 1/9 where it averages. A plain convolution, whose k is 0, may have got one as well. */
const EXTRA_BRANCH_ROUNDINGS = 2;

export function screeningTolerance(certificate: BlockCertificate, found: Sampled): Tolerance {
  const exact = toleranceOf(certificate, gridOf(certificate, found));
  const { weight, bias } = exact.k;
  return {
    ...exact,
    k: {
      weight: weight * SCREENING_FACTOR + EXTRA_BRANCH_ROUNDINGS,
      bias: bias * SCREENING_FACTOR,
    },
  };
}

export function toleranceOf(
  { k, unit }: Pick<BlockCertificate, "k" | "unit">,
  grid: GridFormat | undefined,
): Tolerance {
  const gridFloor = grid ? loweredStep(0, grid) : 0;
  const gridStep = grid ? loweredStep(1, grid) - gridFloor : 0;
  const floor = SMALLEST_SUBNORMAL[unit];
  return { k, unit: UNIT_ROUNDOFF[unit], floor, grid, gridStep, gridFloor };
}

/**
 * The narrowest format that holds all sampled numbers; undefined for float32 (and where nearly all are zero). One of
 * three channels may have been altered afterwards.
 */
function gridOf(certificate: BlockCertificate, found: Sampled): GridFormat | undefined {
  if (certificate.unit !== "float32") return undefined;
  const sites = found.values.map((values, s) =>
    [...values, found.bias[s]!].filter((value) => value !== 0),
  );
  const misses = sites.length > 2 ? 1 : 0;
  const formats: readonly GridFormat[] = ["bfloat16", "float16", "tfloat32"];
  return formats.find((format) => {
    const on = sites.filter((values) => values.every((value) => onGrid(value, format)));
    return on.length >= sites.length - misses && on.flat().length >= MIN_GRID_EVIDENCE;
  });
}

/** Channels whose weights or bias are beyond k roundings. */
export function differingChannels(certificate: BlockCertificate): number[] {
  const { deviation, k } = certificate;
  if (!deviation) return [];
  const bad: number[] = [];
  for (let o = 0; o < deviation.weight.channels.length; o++) {
    if (!(deviation.weight.channels[o]! <= k.weight && deviation.bias.channels[o]! <= k.bias))
      bad.push(o);
  }
  return bad;
}

/** Whether a weight is as near the exact one as the tolerance allows. */
export function isNear(
  found: number,
  exact: number,
  bound: number,
  { k, unit, floor, gridStep, gridFloor }: Tolerance,
): boolean {
  return (
    Math.abs(found - exact) <=
    k.weight * (unit * bound + floor) + gridStep * Math.abs(exact) + gridFloor
  );
}
