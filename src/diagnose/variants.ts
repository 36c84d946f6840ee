/**
 * @file What may have gone wrong with one branch, one entry per hypothesis, and the branch's exact meaning under it.
 * A `kind` is a stable word with parameters (`epsilon:0.001`, `shift:-1,-1`); kinds compose by being listed.
 */

import { type Affine, inputAffine, isRefused } from "../algebra/affine.ts";
import { averagePool } from "../algebra/convolve.ts";
import { lastTap } from "../algebra/taps.ts";
import { floatAttribute, isOp } from "../ir/graph.ts";
import { firstGroupOnly, scaled, shifted, withTaps } from "./affine-edits.ts";
import { type Anatomy, type Branch, interpretChanged } from "./anatomy.ts";
import {
  type BatchNormTensors,
  type BranchSpec,
  batchNormsOf,
  batchNormTensors,
  hasConvBias,
  scaleNodes,
  simpleEdit,
  specOf,
  withBatchNormOf,
  withEpsilon,
  withoutNodes,
} from "./branch-edits.ts";
import type { FileCauseId } from "./file-causes.ts";
import { editInner, innerKind, innerKinds, innerParts } from "./inner-parts.ts";
import { fits, type Layout, layoutOf, tapPermutation } from "./layout.ts";

/** Epsilons that frameworks use. */
export const COMMON_EPSILONS: readonly number[] = [
  1e-3, 1e-5, 0, 1e-6, 1e-4, 1e-2, 1e-1, 1e-8, 1e-12,
];

/** Faults of a single branch, simplest first: of two that explain the same, the first is named. */
const SIMPLE_KINDS = [
  "missing",
  "mean",
  "conv-bias",
  "scale",
  "doubled",
  "beta",
  "gamma",
  "square-root",
  "raw",
  "twice",
  "first-group",
] as const;

const TAP_KINDS = ["transpose", "flip-width", "flip-height", "rotate"] as const;

/** Batch norms of other blocks, by block name and branch label. */
export type OtherBatchNorms = ReadonlyMap<string, ReadonlyMap<string, BatchNormTensors>>;

export interface Variants {
  readonly anatomy: Anatomy;
  readonly layout: Layout;
  /** Kinds that can be tried on branch `j`, without epsilons and batch norms of others. */
  kinds(j: number): readonly string[];
  /** Kinds that take another branch's batch norm, by branch: `[i, j]` pairs that can be exchanged. */
  readonly swaps: readonly (readonly [number, number])[];
  hasBatchNorm(j: number): boolean;
  /** Branches that the training form does not have, and a deploy form may: kind to meaning. */
  readonly extras: ReadonlyMap<string, Affine>;
  /** Undefined: not applicable. `null`: the branch is not there. */
  affine(j: number, kinds: readonly string[]): Promise<Affine | null | undefined>;
}

/** `others` is asked only where batch norms of other blocks are tried. */
export function createVariants(anatomy: Anatomy, others: () => Promise<OtherBatchNorms>): Variants {
  const layout = layoutOf(anatomy);
  const memo = new Map<string, Promise<Affine | null | undefined>>();
  const { branches } = anatomy;
  const kinds = branches.map((branch) => kindsOf(anatomy, layout, branch));
  const norms = branches.map((branch) => batchNormsOf(branch.nodes).length > 0);
  return {
    anatomy,
    layout,
    kinds: (j) => kinds[j]!,
    swaps: swappable(anatomy),
    extras: extraBranches(anatomy, layout),
    hasBatchNorm: (j) => norms[j]!,
    affine: (j, chosen) => {
      const key = `${j}|${chosen.join("+")}`;
      const known = memo.get(key);
      if (known) return known;
      const made = variantOf(anatomy, layout, branches[j]!, chosen, others);
      memo.set(key, made);
      return made;
    },
  };
}

function kindsOf(anatomy: Anatomy, layout: Layout, branch: Branch): string[] {
  const { nodes, role, affine } = branch;
  const norms = batchNormsOf(nodes).length > 0;
  const applies: Record<(typeof SIMPLE_KINDS)[number], boolean> = {
    missing: anatomy.branches.length > 1,
    mean: norms,
    "conv-bias": hasConvBias(nodes),
    scale: scaleNodes(nodes, anatomy).length > 0,
    doubled: anatomy.branches.length > 1,
    beta: norms,
    gamma: norms,
    "square-root": norms,
    raw: norms,
    twice: norms,
    "first-group": role === "identity" && layout.group > 1,
  };
  const kinds: string[] = SIMPLE_KINDS.filter((kind) => applies[kind]);
  const counts = affine.axes.map((axis) => axis.taps.count);
  const severalKernels =
    anatomy.branches.filter((other) => other.affine.axes.some((axis) => axis.taps.count > 1))
      .length > 1;
  // With one spatial kernel, mirroring it and mirroring the sum are the same, and the sum is tried anyway.
  if (severalKernels) {
    kinds.push(...TAP_KINDS.filter((kind) => tapPermutation(counts, kind)));
  }
  const inner = innerKinds(innerParts(anatomy, branch));
  return [...kinds, ...shiftsOf(affine, layout), ...inner];
}

/** Positions tried for a smaller kernel inside a large one, effort alone: the nearest ones, edges and corners. */
const NEAR = 1;

function shiftsOf(v: Affine, layout: Layout): string[] {
  if (v.axes.length !== 2) return [];
  const [rows, columns] = v.axes.map((axis, i) => {
    const outer = layout.axes[i]!.taps;
    const first = outer.start - axis.taps.start;
    const last = lastTap(outer) - lastTap(axis.taps);
    const steps: number[] = [];
    for (let d = first; d <= last; d += Math.max(1, outer.step)) {
      if (Math.abs(d) <= NEAR * Math.max(1, outer.step) || d === first || d === last) steps.push(d);
    }
    return steps;
  });
  const kinds: string[] = [];
  for (const dy of rows ?? []) {
    for (const dx of columns ?? []) if (dy !== 0 || dx !== 0) kinds.push(`shift:${dy},${dx}`);
  }
  return kinds;
}

/** The bare input, and its average over the block's window: what families add without keys (QARepVGG). */
function extraBranches({ affine }: Anatomy, layout: Layout): Map<string, Affine> {
  const extras = new Map<string, Affine>();
  const { inC, outC, axes } = affine;
  if (inC !== outC || axes.some((axis) => axis.stride !== 1 || axis.slack !== 0)) return extras;
  const sizes = axes.map((axis) => axis.size);
  const identity = inputAffine(inC, axes.length, sizes);
  const window = axes.map(({ taps }) => ({
    kernel: taps.count,
    stride: 1,
    dilation: Math.max(1, taps.step),
    beginPad: -taps.start,
    endPad: lastTap(taps),
  }));
  const average = averagePool(identity, window);
  if (fits(identity, layout)) extras.set("plus-identity", identity);
  const spatial = axes.some(({ taps }) => taps.count > 1);
  if (spatial && !isRefused(average) && fits(average, layout)) extras.set("plus-average", average);
  return extras;
}

function swappable(anatomy: Anatomy): [number, number][] {
  const pairs: [number, number][] = [];
  const single = anatomy.branches.map((branch) => {
    const norms = batchNormsOf(branch.nodes);
    return norms.length === 1 ? norms[0]! : undefined;
  });
  for (let i = 0; i < single.length; i++) {
    for (let j = i + 1; j < single.length; j++) if (single[i] && single[j]) pairs.push([i, j]);
  }
  return pairs;
}

const NO_OTHERS: OtherBatchNorms = new Map();

async function variantOf(
  anatomy: Anatomy,
  layout: Layout,
  branch: Branch,
  kinds: readonly string[],
  getOthers: () => Promise<OtherBatchNorms>,
): Promise<Affine | null | undefined> {
  if (kinds.includes("missing")) return null;
  let spec: BranchSpec | undefined = specOf(anatomy, branch);
  const afterwards: ((v: Affine) => Affine | undefined)[] = [];
  // Another batch norm comes with its own parameters and epsilon; faults in using it come after.
  const others = kinds.some((kind) => kind.startsWith("bn-block:")) ? await getOthers() : NO_OTHERS;
  const ordered = [...kinds].sort(
    (a, b) => Number(b.startsWith("bn-")) - Number(a.startsWith("bn-")),
  );
  for (const kind of ordered) {
    const after = affineEdit(kind, layout);
    if (after) afterwards.push(after);
    else spec = spec && nodeEdit(kind, spec, anatomy, branch, others);
  }
  if (!spec) return undefined;
  const unchanged = spec.nodes === branch.nodes && spec.value === branch.value;
  let v: Affine | undefined = unchanged
    ? branch.affine
    : await interpretChanged(anatomy, spec.nodes, spec.initializers, spec.value);
  for (const edit of afterwards) v = v && edit(v);
  return v && fits(v, layout) ? v : undefined;
}

function affineEdit(kind: string, layout: Layout): ((v: Affine) => Affine | undefined) | undefined {
  if (kind === "doubled") return (v) => scaled(v, 2);
  if (kind === "first-group") return (v) => firstGroupOnly(v, layout.group);
  const times = /^times:(.+)$/.exec(kind);
  if (times) return (v) => scaled(v, Number(times[1]));
  const shift = /^shift:(-?\d+),(-?\d+)$/.exec(kind);
  if (shift) return (v) => shifted(v, [Number(shift[1]), Number(shift[2])]);
  const tap = TAP_KINDS.find((name) => name === kind);
  if (!tap) return undefined;
  return (v) => {
    const permutation = tapPermutation(
      v.axes.map((axis) => axis.taps.count),
      tap,
    );
    return permutation && withTaps(v, permutation);
  };
}

function nodeEdit(
  kind: string,
  spec: BranchSpec,
  anatomy: Anatomy,
  branch: Branch,
  others: OtherBatchNorms,
): BranchSpec | undefined {
  const inner = innerKind(kind);
  if (inner) return editInner(spec, inner, anatomy, branch);
  const [word, ...rest] = kind.split(":");
  const parameter = rest.join(":");
  switch (word) {
    case "scale":
      return withoutNodes(spec, scaleNodes(spec.nodes, anatomy), anatomy.constants);
    case "epsilon":
      return withEpsilon(spec, Number(parameter));
    case "bn-of": {
      const node = batchNormsOf(anatomy.branches[Number(parameter)]?.nodes ?? [])[0];
      const tensors = node && batchNormTensors(anatomy, node);
      return tensors && sameChannels(tensors, spec, anatomy)
        ? withBatchNormOf(spec, tensors)
        : undefined;
    }
    case "bn-block": {
      const tensors = others.get(parameter)?.get(branch.label);
      return tensors && sameChannels(tensors, spec, anatomy)
        ? withBatchNormOf(spec, tensors)
        : undefined;
    }
    default:
      return simpleEdit(kind, spec, anatomy);
  }
}

function sameChannels(from: BatchNormTensors, spec: BranchSpec, anatomy: Anatomy): boolean {
  const norms = batchNormsOf(spec.nodes);
  const own = norms.length === 1 ? batchNormTensors(anatomy, norms[0]!) : undefined;
  return own !== undefined && own.tensors[0].shape[0] === from.tensors[0].shape[0];
}

/** What the file says batch norm's epsilon is in this block; undefined without batch norm. */
export function statedEpsilon(anatomy: Anatomy): number | undefined {
  const nodes = [...anatomy.branches.flatMap((branch) => branch.nodes), ...anatomy.tail];
  const node = nodes.find((candidate) => isOp(candidate, "BatchNormalization"));
  return node && floatAttribute(node, "epsilon", 1e-5);
}

/** The cause that a kind stands for; some depend on what the branch (or the part inside it) is. */
export function causeOf(kind: string, branch: Pick<Branch, "role"> | undefined): FileCauseId {
  const word = kind.split(":")[0]!;
  switch (word) {
    case "missing":
      return branch?.role === "identity"
        ? "identity-missing"
        : branch?.role === "pointwise"
          ? "pointwise-missing"
          : "branch-missing";
    case "mean":
      return "running-mean-ignored";
    case "beta":
      return "bn-bias-ignored";
    case "conv-bias":
      return "conv-bias-dropped";
    case "scale":
      return "scale-ignored";
    case "doubled":
      return "branch-doubled";
    case "gamma":
      return "gamma-ignored";
    case "square-root":
      return "square-root-missing";
    case "raw":
      return "bn-not-folded";
    case "twice":
      return "bn-folded-twice";
    case "first-group":
      return "grouped-identity";
    case "shift":
      return "branch-off-centre";
    case "transpose":
      return "kernel-transposed";
    case "flip-width":
    case "flip-height":
    case "rotate":
      return "kernel-flipped";
    case "times":
      return "branch-scaled";
    case "epsilon":
      return "bn-epsilon";
    case "bn-of":
      return "bn-swapped";
    case "bn-block":
      return "bn-of-other-block";
    case "plus-identity":
    case "plus-average":
      return "branch-extra";
    case "post-bn":
      return "post-bn-missing";
    case "bias":
      return "bias-dropped";
    default:
      return "unknown";
  }
}
