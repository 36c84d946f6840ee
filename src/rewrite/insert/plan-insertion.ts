/**
 * @file Which convolutions of an ONNX model become multi-branch blocks. Pure: no weight is read, nothing is changed;
 * the result is data that `applyInsertion`, the command line and reports act on.
 */

import { ReparamError, throwIfAborted } from "../../core/errors.ts";
import type { TaskOptions } from "../../core/task.ts";
import { type Model, type Node, nodeLabel } from "../../ir/graph.ts";
import { indexGraph } from "../../ir/index-graph.ts";
import { inferShapes } from "../../ir/infer-shapes.ts";
import { collectConstants } from "../constants.ts";
import type { ChannelStatistics } from "./block-tensors.ts";
import { BLOCK_KINDS, type Block, type BlockKind, blockFor, MAX_DENSE_BRANCHES } from "./blocks.ts";
import type { ConvGeometry, LeftOutBranch } from "./branch.ts";
import { whyNotExact } from "./branch-affine.ts";
import { type FoundConv, findConv, type LeftAlone } from "./find-convs.ts";
import type { FreshStart } from "./fresh-tensors.ts";
import { namePattern } from "./name-pattern.ts";

export interface InsertionOptions {
  /** Default `repvgg`. */
  readonly block?: BlockKind | undefined;
  /** Only convolutions whose name fits: `*` for any characters, commas between patterns. Default: all. */
  readonly match?: string | undefined;
  /** Start anew instead of keeping the function, with this initial γ and β. */
  readonly fresh?: FreshStart | undefined;
  /** Of the random numbers. Default 0. */
  readonly seed?: number | undefined;
  /** Largest part of each weight that a branch takes from the dense one, above 0, at most 1. Default 0.25. */
  readonly share?: number | undefined;
  /** Dense branches of a MobileOne block, 1 to 16. Default 4. */
  readonly branches?: number | undefined;
}

/** Options with their defaults, checked. */
export interface InsertionSettings {
  readonly block: BlockKind;
  readonly match: string | undefined;
  readonly fresh: FreshStart | undefined;
  readonly seed: number;
  readonly share: number;
  readonly branches: number | undefined;
}

/** One convolution that becomes a block. */
export interface Insertion {
  readonly found: FoundConv;
  readonly block: Block;
  /** Branches the family's block has and this one has not. */
  readonly leftOut: readonly LeftOutBranch[];
}

export interface InsertionPlan {
  readonly settings: InsertionSettings;
  /** In graph order. */
  readonly insertions: readonly Insertion[];
  /** Convolutions with more than one tap that stay as they are. */
  readonly leftAlone: readonly LeftAlone[];
  /** Of the values that the blocks' batch norms read, by block name and batch norm key; from a calibration run. */
  readonly statistics?: ReadonlyMap<string, ReadonlyMap<string, ChannelStatistics>> | undefined;
}

/** Epsilon of new batch norms: the power of 2 next to PyTorch's 1e-5, with which a scale can be exactly 1. */
export const BLOCK_EPSILON: number = 2 ** -17;

const DEFAULT_SHARE = 0.25;

/** Throws `usage` for options out of range. */
export function insertionSettings(options: InsertionOptions): InsertionSettings {
  const { block = "repvgg", match, fresh, seed = 0, share = DEFAULT_SHARE, branches } = options;
  const wrong = (where: string, what: string): ReparamError =>
    new ReparamError("usage", { where, what });
  if (!BLOCK_KINDS.includes(block)) {
    throw wrong("block", `there is no block "${block}", expected one of ${BLOCK_KINDS.join(", ")}`);
  }
  if (!(share > 0 && share <= 1)) {
    throw wrong("share", `${share} was given, expected a number above 0 and at most 1`);
  }
  if (!Number.isSafeInteger(seed)) {
    throw wrong("seed", `${seed} was given, expected a whole number`);
  }
  const count = branches ?? 1;
  if (!Number.isInteger(count) || count < 1 || count > MAX_DENSE_BRANCHES) {
    throw wrong("branches", `${count} were asked for, expected 1 to ${MAX_DENSE_BRANCHES}`);
  }
  return { block, match, fresh, seed, share, branches };
}

export async function planInsertion(
  model: Model,
  options: InsertionOptions & TaskOptions = {},
): Promise<InsertionPlan> {
  const settings = insertionSettings(options);
  const isWanted = settings.match === undefined ? () => true : namePattern(settings.match);
  const { graph } = model;
  const around = {
    index: indexGraph(graph),
    constants: await collectConstants(graph, model.opsets.get("") ?? 0),
    types: await inferShapes(model),
  };
  const insertions: Insertion[] = [];
  const leftAlone: LeftAlone[] = [];
  const names = new Set<string>();
  for (const [done, node] of graph.nodes.entries()) {
    throwIfAborted(options.signal);
    options.onProgress?.({ label: nodeLabel(node), done, total: graph.nodes.length });
    const found = findConv(node, around);
    if (!found || !(isWanted(found.name) || isWanted(node.name))) continue;
    if ("reason" in found) {
      leftAlone.push(found);
      continue;
    }
    // Two layers that share one weight are two blocks: they may learn different things.
    const unique = renamed(found, names);
    const fitted = fitBlock(unique.target.geometry, settings);
    if (typeof fitted === "string") leftAlone.push({ name: unique.name, reason: fitted });
    else insertions.push({ found: unique, ...fitted });
  }
  return { settings, insertions, leftAlone };
}

function renamed(found: FoundConv, taken: Set<string>): FoundConv {
  let name = found.name;
  for (let n = 1; taken.has(name); n++) name = `${found.name}_${n}`;
  taken.add(name);
  return name === found.name ? found : { ...found, name, target: { ...found.target, name } };
}

/** The block with the branches that are exact here; the reason if there is nothing beside the dense one. */
export function fitBlock(
  geometry: ConvGeometry,
  { block: kind, branches }: Pick<InsertionSettings, "block" | "branches">,
): { readonly block: Block; readonly leftOut: readonly LeftOutBranch[] } | string {
  const whole = blockFor(kind, geometry, { branches });
  const leftOut = [...whole.leftOut];
  const exact = whole.branches.filter((branch) => {
    const reason = branch === whole.dense ? undefined : whyNotExact(geometry, whole.dense, branch);
    if (reason === undefined) return true;
    const key = branch.steps.find((step) => step.op !== "average");
    leftOut.push({ branch: key && "key" in key ? key.key : branch.kind, reason });
    return false;
  });
  if (exact.length > 1) return { block: { ...whole, branches: exact }, leftOut };
  const reasons = leftOut.map(({ branch, reason }) => `${branch}: ${reason}`).join("; ");
  return `no second branch is exact (${reasons})`;
}

/** Nodes that an insertion replaces, in graph order. */
export function replacedNodes({ found: { conv, batchNorm } }: Insertion): readonly Node[] {
  return batchNorm ? [conv, batchNorm] : [conv];
}
