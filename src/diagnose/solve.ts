/**
 * @file The continuous unknowns of a block, solved from the sampled numbers: each branch's coefficient in the deploy
 * kernel, and from it the epsilon or the constant factor that would explain it. Solutions are only candidates: ω decides.
 */

import { readFloat64 } from "../core/tensor.ts";
import type { Node } from "../ir/graph.ts";
import { batchNormsOf, batchNormTensors } from "./branch-edits.ts";
import { tapPermutation } from "./layout.ts";
import { type Fit, leastSquares } from "./least-squares.ts";
import { type SampledAffine, sampleAffine } from "./samples.ts";
import type { Search } from "./search.ts";
import { COMMON_EPSILONS } from "./variants.ts";

export interface Solution {
  /** Per site: the coefficient of every branch. */
  readonly fits: readonly Fit[];
  readonly epsilons: readonly number[];
  readonly factors: readonly string[];
  /** Largest relative residual over the sites. */
  readonly residual: number;
}

export async function solveBranches(
  search: Search,
  statedEpsilon: number | undefined,
): Promise<Solution> {
  const { variants, sites, found } = search;
  const { anatomy } = variants;
  const { scale } = await search.tail("");
  const fits: Fit[] = [];
  for (const [s, site] of sites.entries()) {
    const columns: Float64Array[] = [];
    for (let j = 0; j < anatomy.branches.length; j++) {
      const { values } = await (await search.part(j, []))!.row(s);
      columns.push(values.map((value) => value * scale[site.o]!));
    }
    fits.push(leastSquares(columns, found.values[s]!));
  }
  const epsilons = statedEpsilon === undefined ? [] : await epsilonsOf(search, fits);
  const candidates = [...new Set([...COMMON_EPSILONS, ...epsilons])];
  return {
    fits,
    epsilons: statedEpsilon === undefined ? [] : candidates.filter((e) => e !== statedEpsilon),
    factors: constantFactors(fits, anatomy.branches.length),
    residual: Math.max(0, ...fits.map((fit) => fit.residual)),
  };
}

/** A found kernel with a larger part outside what faults can make of the branches has another origin. */
const IN_SPAN = 3e-3;

/**
 * Whether faults of the fuse could explain the sampled numbers at all: every site lies in the span of the branches, of
 * their small kernels at other places, and of mirrored kernels. Saves trying thousands of hypotheses in vain. One of
 * three sites may be a channel that was altered besides.
 */
export async function couldBeFault(search: Search, solution: Solution): Promise<boolean> {
  if (solution.residual <= IN_SPAN) return true;
  const { variants, found, sites } = search;
  const { anatomy, layout } = variants;
  // A fault inside a chain of convolutions changes the kernel in more than its size.
  const isConv = ({ opType }: Node): boolean => opType === "Conv";
  if (anatomy.branches.some(({ nodes }) => nodes.filter(isConv).length > 1)) return true;
  const columns: Float64Array[][] = sites.map(() => []);
  const add = async (sampled: SampledAffine): Promise<void> => {
    for (const [s, list] of columns.entries()) list.push((await sampled.row(s)).values);
  };
  for (let j = 0; j < anatomy.branches.length; j++) {
    await add((await search.part(j, []))!);
    for (const kind of variants.kinds(j)) {
      if (!/^(shift|transpose|flip|rotate|first-group)/.test(kind)) continue;
      const sampled = await search.part(j, [kind]);
      if (sampled) await add(sampled);
    }
  }
  for (const extra of variants.extras.values()) await add(sampleAffine(extra, layout, sites));
  const misses = sites.length > 2 ? 1 : 0;
  const counts = layout.axes.map((axis) => axis.taps.count);
  const orders = (["transpose", "flip-width", "flip-height", "rotate"] as const)
    .map((kind) => tapPermutation(counts, kind))
    .filter((order) => order !== undefined);
  return [undefined, ...orders].some((order) => {
    const outside = sites.filter((_, s) => {
      const target = found.values[s]!;
      if (columns[s]!.length >= target.length) return false;
      const { taps } = layout;
      const arranged = order
        ? target.map((_, p) => target[p - (p % taps) + order[p % taps]!]!)
        : target;
      return leastSquares(columns[s]!, arranged).residual > IN_SPAN;
    });
    return outside.length <= misses;
  });
}

/** How far a round epsilon may be from its estimate, as a part of σ² + ε: float32 and half-precision weights. */
const EXACT_SLACK = 1e-5;
const GRID_SLACK = 1e-2;

/** ε̂ = (v + ε) / a² − v per branch and site; the one from the smallest variance is the sharpest. */
async function epsilonsOf(search: Search, fits: readonly Fit[]): Promise<number[]> {
  const { variants, sites } = search;
  const { anatomy } = variants;
  const estimates: { epsilon: number; spread: number }[] = [];
  const collinear = fits.some((fit) => fit.dependent.length > 0);
  for (const [j, branch] of anatomy.branches.entries()) {
    // Where small kernels cannot be told apart (depthwise 1×1 and identity), their coefficients mean nothing.
    if (collinear && branch.role !== "dense") continue;
    const norms = batchNormsOf(branch.nodes);
    const norm = norms.length === 1 ? batchNormTensors(anatomy, norms[0]!) : undefined;
    if (!norm) continue;
    const variance = await readFloat64(norm.tensors[3]);
    for (const [s, { o }] of sites.entries()) {
      const a = fits[s]!.coefficients[j]!;
      const v = variance[o]!;
      const epsilon = (v + norm.epsilon) / (a * a) - v;
      if (Number.isFinite(epsilon) && v + epsilon > 0)
        estimates.push({ epsilon, spread: v + epsilon });
    }
  }
  estimates.sort((x, y) => x.spread - y.spread);
  const candidates = new Set<number>();
  // Numbers on a coarser grid say less; then also the median counts.
  const slack = search.tolerance.grid ? GRID_SLACK : EXACT_SLACK;
  const byValue = [...estimates].sort((x, y) => x.epsilon - y.epsilon);
  const median = byValue[Math.floor(byValue.length / 2)];
  for (const { epsilon, spread } of [...estimates.slice(0, 3), ...(median ? [median] : [])]) {
    if (epsilon < -slack * spread) continue;
    for (const digits of [1, 2, 3]) {
      const round = Number(Math.max(epsilon, 0).toPrecision(digits));
      // A round number is what somebody typed, as long as the estimate does not contradict it.
      if (Math.abs(round - epsilon) <= slack * spread) candidates.add(round);
    }
    if (epsilon > 0) candidates.add(epsilon);
  }
  return [...candidates];
}

/** Factors that a branch has in all sites alike, other than 0, 1 and 2; as text, because kinds are text. */
function constantFactors(fits: readonly Fit[], branches: number): string[] {
  const factors = new Set<string>();
  for (let j = 0; j < branches; j++) {
    const values = fits.map((fit) => fit.coefficients[j]!).filter(Number.isFinite);
    const first = values[0];
    if (
      first === undefined ||
      values.some((value) => Math.abs(value - first) > 1e-5 * Math.abs(first))
    )
      continue;
    if ([0, 1, 2].some((known) => Math.abs(first - known) < 1e-4)) continue;
    factors.add(String(Number(first.toPrecision(3))));
    factors.add(String(first));
  }
  return [...factors];
}
