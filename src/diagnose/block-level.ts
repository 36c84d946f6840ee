/** @file All differing blocks of a model, each explained, and alike faults of many blocks brought together. */

import { throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import type { Model } from "../ir/graph.ts";
import type { Kernel, Side } from "../verify/side.ts";
import type { BlockCertificate, WeightCertificate } from "../verify/weights.ts";
import { dissect } from "./anatomy.ts";
import { type BatchNormTensors, batchNormsOf, batchNormTensors } from "./branch-edits.ts";
import { type BlockContext, explainBlock } from "./explain-block.ts";
import type { FileCauseId } from "./file-causes.ts";
import type { BlockFault } from "./finding.ts";
import type { OtherSources } from "./other-sources.ts";

/** Other blocks whose batch norms are tried, effort alone: a try each per branch, and what passes is proved by ω. */
const MAX_OTHER_BLOCKS = 64;

export async function explainBlocks(
  training: Side,
  { blocks }: WeightCertificate,
  sources: OtherSources,
  options: TaskOptions,
): Promise<BlockFault[]> {
  const context = createContext(training);
  const faults: BlockFault[] = [];
  const differing = blocks.filter(
    ({ status, pair }) =>
      status === "different" || status === "lower" || (status === "unmatched" && pair.found),
  );
  for (const [done, block] of differing.entries()) {
    throwIfAborted(options.signal);
    options.onProgress?.({ label: block.name, done, total: differing.length });
    if (block.status === "lower") {
      faults.push(lowered(block));
      continue;
    }
    const from = await sources.explain(block, options);
    const found = from ?? (await explainBlock(block, context, options));
    // A pair that is only a guess is believed when a fault brings it within k, and for nothing less.
    const sure =
      block.status === "different" || found.every(({ confidence }) => confidence === "proved");
    if (sure) faults.push(...found);
  }
  return faults;
}

function lowered(certificate: BlockCertificate): BlockFault {
  const { format, omega } = certificate.lowered!;
  return {
    block: certificate.name,
    cause: "lower-precision",
    detail: format,
    confidence: "proved",
    evidence: { format, stepsOfTheGrid: omega },
    faulty: certificate.pair.found,
  };
}

function createContext(training: Side): BlockContext {
  const model: Model | undefined = training.file.kind === "onnx" ? training.file.model : undefined;
  const known = new Map<Kernel, Promise<ReadonlyMap<string, BatchNormTensors>>>();
  const normsOf = (kernel: Kernel): Promise<ReadonlyMap<string, BatchNormTensors>> => {
    let norms = known.get(kernel);
    if (!norms) {
      norms = batchNormsByLabel(kernel, model);
      known.set(kernel, norms);
    }
    return norms;
  };
  return {
    model,
    hints: [],
    othersOf: async ({ pair }) => {
      const alike = training.fused
        .filter((kernel) => kernel !== pair.expected && kernel.shape[0] === pair.expected.shape[0])
        .slice(0, MAX_OTHER_BLOCKS);
      const entries = await Promise.all(
        alike.map(async (kernel) => [kernel.name, await normsOf(kernel)] as const),
      );
      return new Map(entries);
    },
  };
}

async function batchNormsByLabel(
  kernel: Kernel,
  model: Model | undefined,
): Promise<Map<string, BatchNormTensors>> {
  const anatomy = await dissect(kernel, model);
  const norms = new Map<string, BatchNormTensors>();
  for (const branch of anatomy?.branches ?? []) {
    const nodes = batchNormsOf(branch.nodes);
    const tensors = nodes.length === 1 ? batchNormTensors(anatomy!, nodes[0]!) : undefined;
    if (tensors) norms.set(branch.label, tensors);
  }
  return norms;
}

/** Causes whose details differ from block to block although the fault is one. */
const MERGED: ReadonlySet<FileCauseId> = new Set<FileCauseId>([
  "statistics-drifted",
  "other-training-state",
  "untouched-initialisation",
  "unrelated-weights",
  "kernel-of-other-block",
  "stale-cached-kernel",
  "not-finite",
  "unknown",
]);

/** Faults with one cause (and, mostly, one detail) together, in order of first appearance. */
export function groupFaults(faults: readonly BlockFault[]): BlockFault[][] {
  const groups = new Map<string, BlockFault[]>();
  for (const fault of faults) {
    const key = MERGED.has(fault.cause) ? fault.cause : `${fault.cause}|${fault.detail}`;
    const group = groups.get(key);
    if (group) group.push(fault);
    else groups.set(key, [fault]);
  }
  return [...groups.values()];
}
