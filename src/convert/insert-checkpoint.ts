/**
 * @file Insertion into a checkpoint of a plain convolution net: `conv.weight` (and its batch norm) becomes a block's
 * keys, as PyTorch code of that family names them. Everything else passes through bit-equal.
 */

import { emission } from "../algebra/emit.ts";
import { isReparamError, throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { int64Tensor, type LazyTensor, lazyTensor, type StateDict } from "../core/tensor.ts";
import type { NamedTensor } from "../formats/named-tensor.ts";
import { fusedKernel } from "../rewrite/fused-tensors.ts";
import { type BlockTensors, preservingTensors } from "../rewrite/insert/block-tensors.ts";
import type { Block } from "../rewrite/insert/blocks.ts";
import type { LeftOutBranch } from "../rewrite/insert/branch.ts";
import type { LeftAlone } from "../rewrite/insert/find-convs.ts";
import { freshTensors } from "../rewrite/insert/fresh-tensors.ts";
import { namePattern } from "../rewrite/insert/name-pattern.ts";
import {
  fitBlock,
  type InsertionOptions,
  type InsertionSettings,
  insertionSettings,
} from "../rewrite/insert/plan-insertion.ts";
import { targetAffine } from "../rewrite/insert/target.ts";
import {
  INSERTION_FAMILIES,
  type InsertionFamily,
  REPVGG_DEPLOY,
} from "../zoo/insertion-families.ts";
import { recognize } from "../zoo/recognize.ts";
import {
  type CheckpointConv,
  checkpointConvs,
  type PlainNetOptions,
  TORCH_EPSILON,
} from "./checkpoint-convs.ts";
import type { CheckpointFile } from "./open.ts";

export interface CheckpointInsertion {
  readonly conv: CheckpointConv;
  /** Of the block's keys, wrapper prefix and final dot included. */
  readonly prefix: string;
  readonly block: Block;
  readonly leftOut: readonly LeftOutBranch[];
}

export interface CheckpointInsertionPlan {
  readonly settings: InsertionSettings;
  readonly family: InsertionFamily;
  readonly insertions: readonly CheckpointInsertion[];
  readonly leftAlone: readonly LeftAlone[];
  /** The training checkpoint in order: a block's tensors stand where its convolution's weight stood. */
  readonly tensors: readonly NamedTensor[];
  /** What the written checkpoint has to fuse to, in float64; undefined when blocks start anew. */
  readonly original: StateDict | undefined;
  /** What the checkpoint does not say and was assumed, and of which convolutions. */
  readonly assumptions: readonly Assumption[];
}

export interface Assumption {
  readonly text: string;
  readonly convs: readonly string[];
}

/**
 * Plans blocks for the plain convolutions of a checkpoint. No weight is read.
 *
 * @throws usage (options out of range)
 */
export function planCheckpointInsertion(
  file: CheckpointFile,
  options: InsertionOptions & PlainNetOptions & TaskOptions = {},
): CheckpointInsertionPlan {
  const settings = insertionSettings(options);
  const found = checkpointConvs(file, options);
  const fused = settings.block === "repvgg" && found.some(({ name }) => wasBlock(name));
  const family = fused ? REPVGG_DEPLOY : INSERTION_FAMILIES[settings.block];
  const isWanted = settings.match === undefined ? () => true : namePattern(settings.match);
  const taken = keysOfBlocks(file);
  const insertions: CheckpointInsertion[] = [];
  const leftAlone: LeftAlone[] = [];
  for (const conv of found) {
    throwIfAborted(options.signal);
    if (!isWanted(conv.name)) continue;
    if ("reason" in conv) {
      leftAlone.push(conv);
    } else if (conv.keys.some((key) => taken.has(key))) {
      leftAlone.push({ name: conv.name, reason: "it belongs to a multi-branch block already" });
    } else {
      const fitted = fitBlock(conv.target.geometry, settings);
      if (typeof fitted === "string") leftAlone.push({ name: conv.name, reason: fitted });
      else insertions.push({ conv, prefix: blockPrefix(conv, fused), ...fitted });
    }
  }
  return {
    settings,
    family,
    insertions,
    leftAlone,
    tensors: trainingTensors(file, insertions, settings, family),
    original: settings.fresh ? undefined : originalState(file, insertions, family),
    assumptions: sharedAssumptions(insertions, settings),
  };
}

function wasBlock(name: string): boolean {
  return name === REPVGG_DEPLOY.suffix || name.endsWith(`.${REPVGG_DEPLOY.suffix}`);
}

function blockPrefix({ name, keys }: CheckpointConv, fused: boolean): string {
  const end = fused && wasBlock(name) ? `${REPVGG_DEPLOY.suffix}.weight` : "weight";
  return keys[0]!.slice(0, -end.length);
}

/** The assumptions that make a difference to some block, each once. */
function sharedAssumptions(
  insertions: readonly CheckpointInsertion[],
  { block: kind }: InsertionSettings,
): Assumption[] {
  const convs = new Map<string, string[]>();
  for (const { conv, block } of insertions) {
    const hasIdentity = block.branches.some((branch) => branch.kind === "identity");
    for (const { about, text } of conv.assumptions) {
      // Crosses are the same for every stride and group count.
      const matters = about === "stride" ? hasIdentity : kind !== "acnet";
      if (matters) convs.set(text, [...(convs.get(text) ?? []), conv.name]);
    }
  }
  return [...convs].map(([text, names]) => ({ text, convs: names }));
}

/** Keys of blocks in training form that the file holds already. */
function keysOfBlocks(file: CheckpointFile): ReadonlySet<string> {
  try {
    const { matches } = recognize(file.state, file.reading);
    // A convolution with its batch norm is a plain one, whatever family calls it a block.
    const blocks = matches.filter(({ block, form }) => !block.companion && form !== "deploy");
    return new Set(blocks.flatMap((match) => match.keys));
  } catch (error) {
    if (isReparamError(error, "ambiguous")) return new Set();
    throw error;
  }
}

function trainingTensors(
  file: CheckpointFile,
  insertions: readonly CheckpointInsertion[],
  settings: InsertionSettings,
  family: InsertionFamily,
): NamedTensor[] {
  const epsilon = file.reading.epsilon ?? TORCH_EPSILON;
  return replaced(file, insertions, (insertion) => {
    const { prefix, block } = insertion;
    const { tensors } = numbersOf(insertion, settings, epsilon);
    const named: NamedTensor[] = [];
    for (const step of block.branches.flatMap((branch) => branch.steps)) {
      if (step.op === "average") continue;
      const below = [...tensors].filter(([key]) => key.startsWith(`${step.key}.`));
      for (const [key, tensor] of below) {
        const stored = family.differences.includes(key) ? zeros(tensor) : tensor;
        named.push({ name: `${prefix}${key}`, tensor: stored });
      }
      if (step.op === "bn") {
        const counter = lazyTensor(int64Tensor([], [0]));
        named.push({ name: `${prefix}${step.key}.num_batches_tracked`, tensor: counter });
      }
    }
    return named;
  });
}

function numbersOf(
  { conv, block }: CheckpointInsertion,
  { fresh, seed, share }: InsertionSettings,
  epsilon: number,
): BlockTensors {
  const { name, dtype } = conv.target;
  return fresh
    ? freshTensors(name, dtype, block, { fresh, seed, epsilon })
    : preservingTensors(conv.target, block, { seed, share, epsilon, oneEpsilon: true });
}

/** The identity as the difference to itself. */
function zeros(tensor: LazyTensor): LazyTensor {
  return {
    ...tensor,
    read: async (start, end) => new Uint8Array((await tensor.read(start, end)).byteLength),
  };
}

function originalState(
  file: CheckpointFile,
  insertions: readonly CheckpointInsertion[],
  family: InsertionFamily,
): StateDict {
  const tensors = replaced(file, insertions, ({ conv, prefix }) => {
    const affine = targetAffine(conv.target);
    const emitted = { ...emission(affine), group: conv.target.geometry.group };
    const kernel = fusedKernel(affine, emitted, "float64");
    return [
      { name: `${prefix}${family.weight}`, tensor: kernel.weight },
      { name: `${prefix}${family.bias}`, tensor: kernel.bias },
    ];
  });
  return {
    tensors: new Map(tensors.map(({ name, tensor }) => [name, tensor])),
    modules: new Map(),
  };
}

/** The file's tensors with others in place of every convolution that becomes a block. */
function replaced(
  file: CheckpointFile,
  insertions: readonly CheckpointInsertion[],
  by: (insertion: CheckpointInsertion) => readonly NamedTensor[],
): NamedTensor[] {
  const owner = new Map(insertions.flatMap((one) => one.conv.keys.map((key) => [key, one])));
  const result: NamedTensor[] = [];
  for (const [name, tensor] of file.state.tensors) {
    const insertion = owner.get(name);
    if (!insertion) result.push({ name, tensor });
    else if (name === insertion.conv.keys[0]) result.push(...by(insertion));
  }
  return result;
}
