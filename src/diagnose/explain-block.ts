/**
 * @file Why one block differs. Simplest explanation first: what explained an earlier block, single faults, faults with
 * other blocks' parts, pairs, other orders, drifted statistics, single numbers. Each is proved by ω over the block.
 */

import { isReparamError, throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import type { Model } from "../ir/graph.ts";
import type { BlockCertificate } from "../verify/weights.ts";
import { type Anatomy, dissect } from "./anatomy.ts";
import { describeLocal, explainRearranged, omegaOf } from "./block-fault.ts";
import { findBranchOrder } from "./branch-order.ts";
import { confirm, faultyKernel } from "./confirm.ts";
import { type Drift, findDrift } from "./drift.ts";
import type { BlockFault } from "./finding.ts";
import { describeFault, fromHints, type Hint, type Hypothesis, toHints } from "./hypothesis.ts";
import {
  chooseSites,
  differingChannels,
  sampleFound,
  screeningTolerance,
  toleranceOf,
} from "./samples.ts";
import {
  createSearch,
  otherBlockFaults,
  pairsThatExplain,
  type Search,
  singleFaults,
} from "./search.ts";
import { couldBeFault, type Solution, solveBranches } from "./solve.ts";
import { describeUnknown } from "./unknown.ts";
import { createVariants, type OtherBatchNorms, statedEpsilon, type Variants } from "./variants.ts";

/** What blocks explained so far teach, and what other blocks hold. Grows while a model is diagnosed. */
export interface BlockContext {
  /** The ONNX model of a training form that is a graph. */
  readonly model: Model | undefined;
  readonly hints: Hint[][];
  /** Batch norms of the other blocks with as many channels. */
  othersOf(certificate: BlockCertificate): Promise<OtherBatchNorms>;
}

/**
 * Up to this part of a block's channels, faults of single channels are looked for before pairs of faults of the fuse.
 * It decides only what is tried first: a fault of the fuse reaches every channel in which its branch is not dead (the
 * identity of grouped blocks, half of them), so neither is mistaken for the other, and both are proved number by number.
 */
const LOCAL_SHARE = 1 / 16;

export async function explainBlock(
  certificate: BlockCertificate,
  context: BlockContext,
  options: TaskOptions,
): Promise<BlockFault[]> {
  const bad = differingChannels(certificate);
  if (!Number.isFinite(omegaOf(certificate))) return [notFinite(certificate, bad)];
  const anatomy = await dissect(certificate.pair.expected, context.model);
  if (!anatomy) return explainWithout(certificate, bad, undefined, options);
  const variants = createVariants(anatomy, () => context.othersOf(certificate));
  const sites = chooseSites(variants.layout, bad, anatomy.affine.inC);
  const found = await sampleFound(certificate, sites);
  const search = createSearch(variants, sites, found, screeningTolerance(certificate, found));
  const epsilon = statedEpsilon(anatomy);
  const block: Block = { certificate, anatomy, variants, search, bad, epsilon };

  const hinted = await fromEarlierBlocks(block, context, options);
  if (hinted) return hinted;
  // Nothing but a narrower format, and single channels besides.
  const rounded = search.tolerance.grid && (await prove(block, [], options));
  if (rounded) return rounded.faults;
  const solution = await solveBranches(search, epsilon);
  const possible = await couldBeFault(search, solution);
  const singles = possible ? singleFaults(search, solution.epsilons, solution.factors) : [];
  if (possible) {
    const others = otherBlockFaults(search, (await context.othersOf(certificate)).keys());
    const candidates = singlesThatExplain(block, [...singles, ...others], options);
    const single = await firstProved(block, candidates, options);
    if (single) return remember(single, block, context);
  }
  const local = onlyLocal(block);
  if (local) return local;
  const rearranged = await explainRearranged(certificate, search.tolerance, options);
  const { grid } = search.tolerance;
  const lowered = grid ? [precisionFault(certificate, grid)] : [];
  if (rearranged) return [...rearranged, ...lowered];
  const ordered = await findBranchOrder(certificate, variants, search.tolerance, options.signal);
  if (ordered) return [ordered, ...lowered];
  if (possible) {
    const pair = await firstProved(block, pairsThatExplain(search, singles, options), options);
    if (pair) return remember(pair, block, context);
  }
  return explainWithout(certificate, bad, block, options, solution);
}

interface Block {
  readonly certificate: BlockCertificate;
  readonly anatomy: Anatomy;
  readonly variants: Variants;
  readonly search: Search;
  readonly bad: readonly number[];
  readonly epsilon: number | undefined;
}

interface Proof {
  readonly hypothesis: Hypothesis;
  readonly faults: BlockFault[];
}

function remember(proof: Proof, { variants }: Block, context: BlockContext): BlockFault[] {
  const transferable = proof.hypothesis.every(({ kind }) => !kind.startsWith("bn-block:"));
  if (transferable) context.hints.unshift(toHints(proof.hypothesis, variants));
  return proof.faults;
}

async function fromEarlierBlocks(
  block: Block,
  context: BlockContext,
  options: TaskOptions,
): Promise<BlockFault[] | undefined> {
  for (const hints of context.hints) {
    const hypothesis = fromHints(hints, block.variants);
    if (!hypothesis || !(await block.search.explains(hypothesis))) continue;
    const proof = await prove(block, hypothesis, options);
    if (proof) return proof.faults;
  }
  return undefined;
}

async function* singlesThatExplain(
  { search }: Block,
  faults: readonly Hypothesis[number][],
  options: TaskOptions,
): AsyncGenerator<Hypothesis> {
  for (const fault of faults) {
    throwIfAborted(options.signal);
    // One site may be a channel that was altered besides.
    if (await search.explains([fault], search.sites.length > 2 ? 1 : 0)) yield [fault];
  }
}

async function firstProved(
  block: Block,
  hypotheses: AsyncIterable<Hypothesis>,
  options: TaskOptions,
): Promise<Proof | undefined> {
  for await (const hypothesis of hypotheses) {
    const proof = await prove(block, hypothesis, options);
    if (proof) return proof;
  }
  return undefined;
}

/** The faults of the hypothesis if it brings every channel, but for a few that are then named, within k. */
async function prove(
  block: Block,
  hypothesis: Hypothesis,
  options: TaskOptions,
): Promise<Proof | undefined> {
  const { certificate, variants, search } = block;
  const { grid } = search.tolerance;
  let confirmed: Awaited<ReturnType<typeof confirm>>;
  try {
    confirmed = await confirm(certificate, variants, hypothesis, grid, options);
  } catch (error) {
    if (isReparamError(error, "bad-data")) return undefined;
    throw error;
  }
  if (!confirmed) return undefined;
  const { leftOver, k } = confirmed;
  const few = Math.max(1, variants.layout.outC * LOCAL_SHARE);
  // A local fault besides is only believed where most of the differing channels are explained.
  if (leftOver.length > 0 && !(leftOver.length <= few && leftOver.length * 2 < block.bad.length)) {
    return undefined;
  }
  const omega = omegaOf(certificate);
  const after = Math.max(
    ...[...confirmed.deviation.weight.channels].filter((_, o) => !leftOver.includes(o)),
    ...[...confirmed.deviation.bias.channels].filter((_, o) => !leftOver.includes(o)),
  );
  const faults: BlockFault[] = [];
  for (const fault of hypothesis) {
    const single = hypothesis.length === 1;
    const faulty = single
      ? confirmed.kernel
      : await faultyKernel(certificate.pair.expected, variants, [fault]);
    const named = describeFault(fault, variants, block.epsilon);
    faults.push({
      block: certificate.name,
      ...named,
      confidence: "proved",
      evidence: {
        ...named.evidence,
        omegaBefore: omega,
        omegaAfter: after,
        k: Math.max(k.weight, k.bias),
      },
      faulty,
    });
  }
  if (leftOver.length > 0) {
    faults.push(
      ...(await describeLocal(block.certificate, confirmed.kernel, leftOver, search.tolerance)),
    );
  }
  if (grid) faults.push(precisionFault(certificate, grid));
  return { hypothesis, faults };
}

function notFinite(certificate: BlockCertificate, bad: readonly number[]): BlockFault {
  const { weight, bias } = certificate.deviation!;
  const channels = bad.filter(
    (o) => ![weight, bias].every((part) => Number.isFinite(part.channels[o])),
  );
  return {
    block: certificate.name,
    cause: "not-finite",
    detail: `NaN or infinity in ${channels.length} of ${weight.channels.length} filters`,
    confidence: "proved",
    evidence: { channels: channels.slice(0, 16) },
    faulty: undefined,
  };
}

function precisionFault(certificate: BlockCertificate, format: string): BlockFault {
  return {
    block: certificate.name,
    cause: "lower-precision",
    detail: format,
    confidence: "proved",
    evidence: { format },
    faulty: undefined,
  };
}

/** A few wrong channels, all others right. */
function onlyLocal({
  certificate,
  bad,
  search,
  variants,
}: Block): Promise<BlockFault[]> | undefined {
  const { outC } = variants.layout;
  if (bad.length > Math.max(1, outC * LOCAL_SHARE) || bad.length === outC) return undefined;
  const tolerance = { ...search.tolerance, grid: undefined };
  return describeLocal(certificate, certificate.pair.expected, bad, tolerance);
}

/** What is left when no fault of the fuse explains it. */
async function explainWithout(
  certificate: BlockCertificate,
  bad: readonly number[],
  block: Block | undefined,
  options: TaskOptions,
  solution?: Solution,
): Promise<BlockFault[]> {
  const tolerance = block?.search.tolerance ?? toleranceOf(certificate, undefined);
  const { expected } = certificate.pair;
  const rearranged = block ? undefined : await explainRearranged(certificate, tolerance, options);
  if (rearranged) return rearranged;
  const drift =
    block &&
    (await findDrift(
      certificate,
      block.variants,
      toleranceOf(certificate, tolerance.grid),
      options,
    ));
  if (drift) {
    const { grid } = tolerance;
    return [driftFault(certificate, drift), ...(grid ? [precisionFault(certificate, grid)] : [])];
  }
  const outC = expected.shape[0] ?? 0;
  if (bad.length * 2 <= outC && bad.length > 0 && bad.length < outC) {
    return describeLocal(certificate, expected, bad, { ...tolerance, grid: undefined });
  }
  return [await describeUnknown(certificate, block?.anatomy, solution, tolerance)];
}

function driftFault(certificate: BlockCertificate, drift: Drift): BlockFault {
  const ratios = Object.entries(drift.varianceRatios)
    .map(([label, ratio]) => `${label} ×${ratio.toPrecision(3)}`)
    .join(", ");
  const unsure =
    drift.ambiguous.length > 0
      ? `; ${drift.ambiguous.join(", ")} cannot be told from the others here`
      : "";
  return {
    block: certificate.name,
    cause: "statistics-drifted",
    detail: drift.meansOnly
      ? "weights agree; the biases fit other running means"
      : `running variances were, at the median, ${ratios || "others"} when the deploy form was made${unsure}`,
    confidence: drift.meansOnly ? "consistent" : "proved",
    evidence: {
      omegaBefore: omegaOf(certificate),
      omegaAfter: drift.omega,
      k: certificate.k.weight,
      ambiguous: drift.ambiguous,
      ...Object.fromEntries(
        Object.entries(drift.variances).map(([label, values]) => [
          `variance ${label}`,
          values.slice(0, 8),
        ]),
      ),
    },
    faulty: undefined,
  };
}
