/**
 * @file The continuous unknowns of a block, solved from the sampled numbers: each branch's coefficient in the deploy
 * kernel, and from it the epsilon or the constant factor that would explain it. Solutions are only candidates: ω decides.
 */

import { readFloat64 } from "../core/tensor.ts";
import { isOp } from "../ir/graph.ts";
import type { Anatomy, Branch } from "./anatomy.ts";
import { batchNormsOf, batchNormTensors } from "./branch-edits.ts";
import { fitParts, fitterOf, type Part, type PartsFit, totalBounds } from "./fit-parts.ts";
import { innerParts } from "./inner-parts.ts";
import { tapPermutation } from "./layout.ts";
import { type SampledAffine, sampleAffine } from "./samples.ts";
import type { Search } from "./search.ts";
import { COMMON_EPSILONS } from "./variants.ts";

export interface Solution {
  /** Per site: the coefficient of every branch. */
  readonly fits: readonly PartsFit[];
  readonly epsilons: readonly number[];
  readonly factors: readonly string[];
  /** Largest relative residual over the sites. */
  readonly residual: number;
  /** Whether every site is a sum of the branches times factors, up to rounding. */
  readonly inSpan: boolean;
}

export async function solveBranches(
  search: Search,
  statedEpsilon: number | undefined,
): Promise<Solution> {
  const { sites, found, tolerance } = search;
  const fits: PartsFit[] = [];
  for (const [s] of sites.entries()) {
    const parts = await branchesAt(search, s);
    const target = found.values[s]!;
    fits.push(fitParts(parts, target, tolerance, totalBounds(parts, target.length)));
  }
  const epsilons = statedEpsilon === undefined ? [] : await epsilonsOf(search, fits);
  const candidates = [...new Set([...COMMON_EPSILONS, ...epsilons])];
  return {
    fits,
    epsilons: statedEpsilon === undefined ? [] : candidates.filter((e) => e !== statedEpsilon),
    factors: constantFactors(fits, search.variants.anatomy.branches.length),
    residual: Math.max(0, ...fits.map((fit) => fit.residual)),
    inSpan: fits.every((fit) => fit.inSpan),
  };
}

/** The branches as they should be, at site `s`. */
async function branchesAt(search: Search, s: number): Promise<Part[]> {
  const { anatomy } = search.variants;
  const scale = (await search.tail("")).scale[search.sites[s]!.o]!;
  const parts: Part[] = [];
  for (let j = 0; j < anatomy.branches.length; j++) {
    const { values, bounds } = await (await search.part(j, []))!.row(s);
    parts.push({
      values: values.map((value) => value * scale),
      bounds: bounds.map((bound) => bound * Math.abs(scale)),
    });
  }
  return parts;
}

/**
 * Whether faults of the fuse could explain the sampled numbers at all: every site lies, up to rounding, in the span of
 * the branches, of their small kernels at other places, and of mirrored kernels. Saves trying thousands of hypotheses in
 * vain. One of three sites may be a channel that was altered besides.
 */
export async function couldBeFault(search: Search, solution: Solution): Promise<boolean> {
  if (solution.inSpan) return true;
  const { variants, found, sites, tolerance } = search;
  const { anatomy, layout } = variants;
  if (anatomy.branches.some((branch) => bendsKernel(anatomy, branch))) return true;
  const parts: Part[][] = sites.map(() => []);
  const add = async (sampled: SampledAffine): Promise<void> => {
    for (const [s, list] of parts.entries()) list.push(await sampled.row(s));
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
  const fitters: ReturnType<typeof fitterOf>[] = [];
  for (const [s, list] of parts.entries()) {
    const least = totalBounds(await branchesAt(search, s), found.values[s]!.length);
    fitters.push(fitterOf(list, tolerance, least));
  }
  const misses = sites.length > 2 ? 1 : 0;
  const counts = layout.axes.map((axis) => axis.taps.count);
  const orders = (["transpose", "flip-width", "flip-height", "rotate"] as const)
    .map((kind) => tapPermutation(counts, kind))
    .filter((order) => order !== undefined);
  return [undefined, ...orders].some((order) => {
    let outside = 0;
    for (const [s, target] of found.values.entries()) {
      // As many parts as numbers reach anything.
      if (parts[s]!.length >= target.length) continue;
      const { taps } = layout;
      const arranged = order
        ? target.map((_, p) => target[p - (p % taps) + order[p % taps]!]!)
        : target;
      if (!fitters[s]!(arranged).inSpan && ++outside > misses) return false;
    }
    return true;
  });
}

/** Whether a fault can change a branch's kernel in more than its size: before a convolution, or in an inner sum. */
function bendsKernel(anatomy: Anatomy, branch: Branch): boolean {
  const { nodes } = branch;
  const last = nodes.findLastIndex((node) => isOp(node, "Conv"));
  const before = nodes.slice(0, Math.max(0, last));
  const scales = ["Conv", "BatchNormalization", "Mul", "Div"];
  return (
    before.some((node) => scales.some((type) => isOp(node, type))) ||
    innerParts(anatomy, branch).some(({ operand }) => operand !== undefined)
  );
}

/**
 * ε̂ = (v + ε) / a² − v per branch and site; the one from the smallest variance is the sharpest. With a known to ±δ it
 * is known to ±(v + ε)·(1/(|a| − δ)² − 1/a²).
 */
async function epsilonsOf(search: Search, fits: readonly PartsFit[]): Promise<number[]> {
  const { variants, sites } = search;
  const { anatomy } = variants;
  const estimates: { epsilon: number; spread: number; slack: number }[] = [];
  const collinear = fits.some((fit) => fit.dependent.length > 0);
  for (const [j, branch] of anatomy.branches.entries()) {
    // Where small kernels cannot be told apart (depthwise 1×1 and identity), their coefficients mean nothing.
    if (collinear && branch.role !== "dense") continue;
    const norms = batchNormsOf(branch.nodes);
    const norm = norms.length === 1 ? batchNormTensors(anatomy, norms[0]!) : undefined;
    if (!norm) continue;
    const variance = await readFloat64(norm.tensors[3]);
    for (const [s, { o }] of sites.entries()) {
      const a = Math.abs(fits[s]!.coefficients[j]!);
      const least = a - fits[s]!.uncertainty[j]!;
      if (!(least > 0)) continue;
      const v = variance[o]!;
      const spread = (v + norm.epsilon) / a ** 2;
      const slack = (v + norm.epsilon) / least ** 2 - spread;
      if (Number.isFinite(spread)) estimates.push({ epsilon: spread - v, spread, slack });
    }
  }
  estimates.sort((x, y) => x.spread - y.spread);
  const candidates = new Set<number>();
  const byValue = [...estimates].sort((x, y) => x.epsilon - y.epsilon);
  const median = byValue[Math.floor(byValue.length / 2)];
  for (const { epsilon, slack } of [...estimates.slice(0, 3), ...(median ? [median] : [])]) {
    if (epsilon < -slack) continue;
    for (const round of roundNumbers(Math.max(epsilon, 0), slack)) candidates.add(round);
    if (epsilon > 0) candidates.add(epsilon);
  }
  return [...candidates];
}

/** A round number is what somebody typed, as long as the estimate does not contradict it. */
function roundNumbers(estimate: number, slack: number): number[] {
  return [1, 2, 3]
    .map((digits) => Number(estimate.toPrecision(digits)))
    .filter((round) => Math.abs(round - estimate) <= slack);
}

/** Factors that a branch has in all sites alike, other than 0, 1 and 2; as text, because kinds are text. */
function constantFactors(fits: readonly PartsFit[], branches: number): string[] {
  const factors = new Set<string>();
  for (let j = 0; j < branches; j++) {
    const values = fits
      .map((fit) => ({ a: fit.coefficients[j]!, slack: fit.uncertainty[j]! }))
      .filter(({ a }) => Number.isFinite(a));
    // The one that is known best.
    const [best] = values.sort((x, y) => x.slack - y.slack);
    if (!best || values.some(({ a, slack }) => Math.abs(a - best.a) > slack + best.slack)) continue;
    if ([0, 1, 2].some((known) => Math.abs(best.a - known) <= best.slack)) continue;
    for (const round of roundNumbers(best.a, best.slack)) factors.add(String(round));
    factors.add(String(best.a));
  }
  return [...factors];
}
