/**
 * @file What becomes of every tensor of a checkpoint: fused into a block's kernel, passed through bit-equal, or
 * dropped because the deploy form has no place for it. Shapes only; no weight is read.
 */

import type { FloatDType } from "../core/dtype.ts";
import { ReparamError } from "../core/errors.ts";
import type { NamedTensor } from "../formats/named-tensor.ts";
import { FAMILIES } from "../zoo/families/index.ts";
import { type BlockMatch, recognize } from "../zoo/recognize.ts";
import { type FusedBlock, fuseBlock } from "./fuse-block.ts";
import type { CheckpointFile } from "./open.ts";
import { listed, partFitNote } from "./part-fit-note.ts";

export interface CheckpointPlan {
  /** `deploy` when no block has branches, `mixed` when some do and some do not. */
  readonly form: "training" | "deploy" | "mixed";
  readonly blocks: readonly FusedBlock[];
  /** Blocks that were in deploy form already. */
  readonly deployed: readonly BlockMatch[];
  /** The deploy checkpoint in order: a fused kernel stands where its block's first key stood. */
  readonly tensors: readonly NamedTensor[];
  /** Names passed through bit-equal. */
  readonly passed: readonly string[];
  /** Names the deploy form does not have although no kernel holds them, e.g. auxiliary heads. */
  readonly dropped: readonly string[];
  /** What the user should know: stale kernels replaced, assumptions, how epsilon was found. */
  readonly notes: readonly string[];
}

export interface PlanCheckpointOptions {
  /** Element type of the fused tensors. Default: that of each block's widest float parameter. */
  readonly storedAs?: FloatDType | undefined;
}

/**
 * Recognises the blocks and plans the conversion.
 *
 * @throws ambiguous (several families fit), bad-data (shapes contradict), refused (no known block, or not fusable)
 */
export async function planCheckpoint(
  file: CheckpointFile,
  { storedAs }: PlanCheckpointOptions = {},
): Promise<CheckpointPlan> {
  const { state, reading } = file;
  const recognition = recognize(state, { ...reading, deployKeys: expectedKeys(file) });
  const training = recognition.matches.filter((match) => match.form !== "deploy");
  const deployed = recognition.matches.filter((match) => match.form === "deploy");
  if (recognition.matches.length === 0) throw nothingKnown(file);
  const blocks: FusedBlock[] = [];
  for (const match of training) blocks.push(await fuseBlock(match, state, reading, storedAs));
  return {
    form: training.length === 0 ? "deploy" : deployed.length > 0 ? "mixed" : "training",
    blocks,
    deployed,
    ...arrange(file, blocks, recognition.dropped),
    notes: [
      ...recognition.chosenByDeployKeys.map(
        (family) =>
          `family ${family}: of those that the keys fit, it gives the deploy file's names`,
      ),
      ...blockNotes(blocks),
      ...formNotes(training, deployed),
      ...recognition.partFits.map((fit) => `${partFitNote(fit)}; passed through`),
    ],
  };
}

/** The deploy file's names, as a conversion of this file would spell them. */
function expectedKeys({ deployKeys, prefix }: CheckpointFile): ReadonlySet<string> | undefined {
  // What lies outside a backbone has no prefix.
  return deployKeys && new Set([...deployKeys].flatMap((key) => [`${prefix}${key}`, key]));
}

function nothingKnown(file: CheckpointFile): ReparamError {
  return new ReparamError("refused", {
    where: file.name,
    what: `none of its ${file.state.tensors.size} tensors belongs to a multi-branch block of the ${FAMILIES.length} families known here`,
    fix: "A deploy form has nothing to fuse; for another family, describe its block in a recipe and give it with --recipe",
  });
}

function arrange(
  file: CheckpointFile,
  blocks: readonly FusedBlock[],
  dropped: readonly string[],
): Pick<CheckpointPlan, "tensors" | "passed" | "dropped"> {
  const owner = new Map<string, FusedBlock>();
  for (const block of blocks) {
    for (const key of block.match.keys) owner.set(key, block);
    for (const key of block.match.deployKeys.stale ?? []) owner.set(key, block);
  }
  const gone = new Set(dropped);
  const written = new Set<FusedBlock>();
  const tensors: NamedTensor[] = [];
  const passed: string[] = [];
  for (const [name, tensor] of file.state.tensors) {
    const block = owner.get(name);
    if (block) {
      if (written.has(block)) continue;
      written.add(block);
      tensors.push({ name: block.weightName, tensor: block.kernel.weight });
      tensors.push({ name: block.biasName, tensor: block.kernel.bias });
    } else if (!gone.has(name)) {
      tensors.push({ name, tensor });
      passed.push(name);
    }
  }
  return { tensors, passed, dropped };
}

function blockNotes(blocks: readonly FusedBlock[]): string[] {
  const notes: string[] = [];
  const stale = blocks.filter((block) => block.match.form === "mixed");
  if (stale.length > 0) {
    notes.push(
      `${count(stale.length, "block")} held a fused kernel beside the branches (${listed(stale.map((block) => block.match.prefix))}): the branches count, the kernel is replaced`,
    );
  }
  notes.push(...new Set(blocks.flatMap((block) => block.block.assumptions)));
  return notes;
}

function formNotes(training: readonly BlockMatch[], deployed: readonly BlockMatch[]): string[] {
  if (deployed.length === 0) return [];
  return training.length === 0
    ? [
        `all ${count(deployed.length, "block")} are in deploy form already; the tensors are passed through`,
      ]
    : [
        `half converted: ${count(deployed.length, "block")} (${listed(deployed.map((match) => match.prefix))}) are in deploy form already and pass through`,
      ];
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
