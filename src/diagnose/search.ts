/**
 * @file Which one or two faults explain the sampled numbers of a block. Parts are evaluated once per fault by the
 * engine; combinations are sums of what was evaluated, so thousands of them cost less than reading the block.
 */

import { isReparamError, throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { branchKinds, type Fault, type Hypothesis, tailKind } from "./hypothesis.ts";
import { innerKind } from "./inner-parts.ts";
import { tapPermutation } from "./layout.ts";
import {
  type Sampled,
  type SampledAffine,
  type SampledRow,
  type Site,
  sampleAffine,
  type Tolerance,
} from "./samples.ts";
import { type TailFactors, tailFactors, tailKinds } from "./tail.ts";
import type { Variants } from "./variants.ts";

export interface Search {
  readonly variants: Variants;
  readonly sites: readonly Site[];
  readonly found: Sampled;
  readonly tolerance: Tolerance;
  /** Whether the hypothesis explains every sampled number, in all sites but `misses` (default 0). */
  explains(hypothesis: Hypothesis, misses?: number): Promise<boolean>;
  /** Branch `j` under faults: `null` where it is not there, `undefined` where they do not apply. */
  part(j: number, kinds: readonly string[]): Promise<SampledAffine | null | undefined>;
  tail(kind: string): Promise<TailFactors>;
}

export function createSearch(
  variants: Variants,
  sites: readonly Site[],
  found: Sampled,
  tolerance: Tolerance,
): Search {
  const { anatomy, layout } = variants;
  const count = anatomy.branches.length;
  const extras = new Map(
    [...variants.extras].map(([kind, v]) => [kind, sampleAffine(v, layout, sites)]),
  );
  const pending = new Map<string, Promise<SampledAffine | null | undefined>>();
  const ready = new Map<string, SampledAffine | null | undefined>();
  const tails = new Map<string, Promise<TailFactors>>();
  const places = new WeakMap<Fault, readonly string[]>();
  const part = async (
    j: number,
    kinds: readonly string[],
  ): Promise<SampledAffine | null | undefined> => {
    const key = `${j}|${kinds.join("+")}`;
    let made = pending.get(key);
    if (!made) {
      made = variants.affine(j, kinds).then((v) => v && sampleAffine(v, layout, sites));
      pending.set(key, made);
    }
    const sampled = await made;
    ready.set(key, sampled);
    return sampled;
  };
  const tail = (kind: string): Promise<TailFactors> => {
    let made = tails.get(kind);
    if (!made) {
      made = tailFactors(anatomy, kind);
      tails.set(kind, made);
    }
    return made;
  };
  const kindsAt = (fault: Fault): readonly string[] => {
    let kinds = places.get(fault);
    if (!kinds) {
      kinds = Array.from({ length: count }, (_, j) => branchKinds([fault], j, variants)[0] ?? "");
      places.set(fault, kinds);
    }
    return kinds;
  };
  const partsUnder = async (hypothesis: Hypothesis): Promise<SampledAffine[] | undefined> => {
    const parts: SampledAffine[] = [];
    for (let j = 0; j < count; j++) {
      const kinds = hypothesis.map((fault) => kindsAt(fault)[j]!).filter((kind) => kind !== "");
      const key = `${j}|${kinds.join("+")}`;
      const sampled = ready.has(key) ? ready.get(key) : await part(j, kinds);
      if (sampled === undefined) return undefined;
      if (sampled) parts.push(sampled);
    }
    for (const { kind } of hypothesis) {
      const extra = extras.get(kind);
      if (extra) parts.push(extra);
    }
    return parts;
  };
  const explains = async (hypothesis: Hypothesis, misses: number): Promise<boolean> => {
    const parts = await partsUnder(hypothesis);
    if (!parts) return false;
    const factors = await tail(tailKind(hypothesis));
    const counts = layout.axes.map((axis) => axis.taps.count);
    const permutation = outputPermutation(hypothesis, counts);
    const withoutBias = hypothesis.some(({ kind }) => kind === "bias");
    const siteFits = async (site: Site, s: number): Promise<boolean> => {
      const rows: SampledRow[] = [];
      for (const sampled of parts) rows.push(sampled.ready[s] ?? (await sampled.row(s)));
      const check = { site, s, factors, found, tolerance };
      if (!weightsFit(check, rows, permutation, layout.taps)) return false;
      if (withoutBias) return found.bias[s] === 0;
      return biasFits(check, await Promise.all(parts.map((sampled) => sampled.bias(s))));
    };
    let left = misses;
    for (const [s, site] of sites.entries()) {
      if (!(await siteFits(site, s)) && left-- <= 0) return false;
    }
    return true;
  };
  return {
    variants,
    sites,
    found,
    tolerance,
    tail,
    part,
    explains: async (hypothesis, misses = 0) => {
      try {
        return await explains(hypothesis, misses);
      } catch (error) {
        // Epsilon 0 with a variance of 0, for example: nobody can have computed that.
        if (isReparamError(error, "bad-data")) return false;
        throw error;
      }
    },
  };
}

export function outputPermutation(
  hypothesis: Hypothesis,
  counts: readonly number[],
): Int32Array | undefined {
  const fault = hypothesis.find(
    ({ scope, kind }) => scope === "output" && kind !== "bias" && !kind.startsWith("plus-"),
  );
  return fault && tapPermutation(counts, fault.kind as "transpose");
}

interface SiteCheck {
  readonly site: Site;
  readonly s: number;
  readonly factors: TailFactors;
  readonly found: Sampled;
  readonly tolerance: Tolerance;
}

function weightsFit(
  { site, s, factors, found, tolerance }: SiteCheck,
  rows: readonly SampledRow[],
  permutation: Int32Array | undefined,
  taps: number,
): boolean {
  const scale = factors.scale[site.o]!;
  const magnitude = Math.abs(scale);
  const values = found.values[s]!;
  for (let p = 0; p < values.length; p++) {
    // Positions come in whole sets of taps, so a rearranged tap is in the sample too.
    const at = permutation ? p - (p % taps) + permutation[p % taps]! : p;
    let value = 0;
    let bound = 0;
    for (const row of rows) {
      value += row.values[at]!;
      bound += row.bounds[at]!;
    }
    const k = tolerance.k.weight;
    if (!isWithin(values[p]!, value * scale, bound * magnitude, k, tolerance)) return false;
  }
  return true;
}

function biasFits(
  { site, s, factors, found, tolerance }: SiteCheck,
  biases: readonly (readonly [number, number])[],
): boolean {
  const scale = factors.scale[site.o]!;
  let [value, bound] = [0, 0];
  for (const [part, partBound] of biases) {
    value += part;
    bound += partBound;
  }
  const exact = value * scale + factors.shift[site.o]!;
  const limit = bound * Math.abs(scale) + factors.shiftBound[site.o]!;
  return isWithin(found.bias[s]!, exact, limit, tolerance.k.bias, tolerance);
}

function isWithin(
  found: number,
  exact: number,
  bound: number,
  k: number,
  { unit, floor, gridStep, gridFloor }: Tolerance,
): boolean {
  return (
    Math.abs(found - exact) <= k * (unit * bound + floor) + gridStep * Math.abs(exact) + gridFloor
  );
}

/** Every single fault that can be tried, simplest first. */
export function singleFaults(
  search: Search,
  epsilons: readonly number[],
  factors: readonly string[],
): Fault[] {
  const { variants, found, sites } = search;
  const { anatomy, layout } = variants;
  const count = anatomy.branches.length;
  const all = Array.from({ length: count }, (_, j) => j);
  const faults: Fault[] = [];
  const spread = (kind: string, indices: readonly number[]): void => {
    const tail = tailKinds(anatomy, epsilons).includes(kind);
    if (indices.length + (tail ? 1 : 0) > 1) faults.push({ kind, scope: "all" });
    for (const j of indices) faults.push({ kind, scope: j });
    if (tail) faults.push({ kind, scope: "tail" });
  };
  if (sites.every((_, s) => found.bias[s] === 0)) faults.push({ kind: "bias", scope: "output" });
  for (const epsilon of epsilons) {
    spread(
      `epsilon:${epsilon}`,
      all.filter((j) => variants.hasBatchNorm(j)),
    );
  }
  const perBranch = all.map((j) => variants.kinds(j));
  const simple = [...new Set(perBranch.flat())];
  const oneBranchOnly = (kind: string): boolean =>
    kind === "missing" ||
    kind === "doubled" ||
    kind.startsWith("shift:") ||
    innerKind(kind) !== undefined;
  for (const kind of simple) {
    const indices = all.filter((j) => perBranch[j]!.includes(kind));
    if (oneBranchOnly(kind)) for (const j of indices) faults.push({ kind, scope: j });
    else spread(kind, indices);
  }
  if (anatomy.tail.length > 0) {
    for (const kind of tailKinds(anatomy, [])) {
      if (!simple.includes(kind)) faults.push({ kind, scope: "tail" });
    }
  }
  for (const exchanged of variants.swaps) {
    faults.push({ kind: "bn-of", scope: exchanged[0], exchanged });
  }
  for (const factor of factors)
    for (const j of all) faults.push({ kind: `times:${factor}`, scope: j });
  for (const kind of variants.extras.keys()) faults.push({ kind, scope: "output" });
  const counts = layout.axes.map((axis) => axis.taps.count);
  for (const kind of ["transpose", "flip-width", "flip-height", "rotate"] as const) {
    if (tapPermutation(counts, kind)) faults.push({ kind, scope: "output" });
  }
  return faults;
}

/** Faults with batch norms of other blocks. */
export function otherBlockFaults(search: Search, others: Iterable<string>): Fault[] {
  const { variants } = search;
  const branches = variants.anatomy.branches
    .map((_, j) => j)
    .filter((j) => variants.hasBatchNorm(j));
  const faults: Fault[] = [];
  for (const name of others) {
    const kind = `bn-block:${name}`;
    if (branches.length > 1) faults.push({ kind, scope: "all" });
    for (const j of branches) faults.push({ kind, scope: j });
  }
  return faults;
}

/**
 * Pairs of faults that can hold at once, those of the simplest members first. Parts inside a branch are so many that
 * their pairs are not tried.
 */
export async function* pairsThatExplain(
  search: Search,
  all: readonly Fault[],
  options: TaskOptions,
): AsyncGenerator<Hypothesis> {
  const faults = all.filter(({ kind }) => !innerKind(kind));
  for (let last = 1; last < faults.length; last++) {
    throwIfAborted(options.signal);
    for (let first = 0; first < last; first++) {
      const pair = [faults[first]!, faults[last]!];
      if (!canCombine(pair[0]!, pair[1]!)) continue;
      if (await search.explains(pair)) yield pair;
    }
  }
}

function canCombine(a: Fault, b: Fault): boolean {
  const [wordA, wordB] = [a.kind.split(":")[0]!, b.kind.split(":")[0]!];
  if (wordA.startsWith("plus-") || wordB.startsWith("plus-")) return wordA !== wordB;
  if (a.scope === "output" && b.scope === "output") return wordA === "bias" || wordB === "bias";
  if (a.scope === "output" || b.scope === "output") return true;
  const sharePlace =
    a.scope === b.scope ||
    a.scope === "all" ||
    b.scope === "all" ||
    isExchangedWith(a, b) ||
    isExchangedWith(b, a);
  if (!sharePlace) return true;
  // A branch that is gone has no second fault, unless that one is everywhere.
  if ((wordA === "missing" && b.scope !== "all") || (wordB === "missing" && a.scope !== "all"))
    return false;
  const replacing = ["raw", "bn-of", "bn-block"];
  // The same kind twice in one place says nothing new.
  return wordA !== wordB && !(replacing.includes(wordA) && replacing.includes(wordB));
}

function isExchangedWith({ exchanged }: Fault, other: Fault): boolean {
  return (
    exchanged !== undefined && typeof other.scope === "number" && exchanged.includes(other.scope)
  );
}
