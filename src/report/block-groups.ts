/** @file Many blocks in few lines: blocks of one stage together, with what they have in common. */

import { formatSize } from "./format.ts";

/** What a summary needs to know of a block. */
export interface BlockFacts {
  readonly name: string;
  readonly branches: readonly string[];
  /** `[outC, inC/group, kH, kW]` */
  readonly weightShape: readonly number[];
  readonly group: number | undefined;
  /** Input channels; undefined where the net is not known and the block's shapes leave it open. */
  readonly inC: number | undefined;
}

/**
 * The input channels of a block whose net is not known: certain with a branch that has no convolution, or with a group
 * count that the shapes demand.
 */
export function certainInputs(
  branches: readonly string[],
  inChannels: number,
  group: number,
): number | undefined {
  const keepsChannels = branches.some((branch) => !/\d×|linear|conv/.test(branch));
  return keepsChannels || group > 1 ? inChannels : undefined;
}

export interface BlockGroup<T extends BlockFacts> {
  readonly label: string;
  readonly blocks: readonly T[];
  /** The block before the first of these, in file order. */
  readonly previous: T | undefined;
}

/** More lines than this are no summary. */
const MAX_GROUPS = 12;

/** Neighbouring blocks whose names share a stem; coarser stems where there would be too many lines. */
export function groupBlocks<T extends BlockFacts>(blocks: readonly T[]): BlockGroup<T>[] {
  const deepest = Math.max(1, ...blocks.map(({ name }) => stemParts(name).length));
  let groups: BlockGroup<T>[] = [];
  for (let depth = deepest; depth >= 1; depth--) {
    groups = groupAt(blocks, depth);
    if (groups.length <= MAX_GROUPS) break;
  }
  return groups;
}

function groupAt<T extends BlockFacts>(blocks: readonly T[], depth: number): BlockGroup<T>[] {
  const groups: { label: string; blocks: T[]; previous: T | undefined }[] = [];
  blocks.forEach((block, i) => {
    const label = stemParts(block.name).slice(0, depth).join(".");
    const last = groups.at(-1);
    if (last?.label === label) last.blocks.push(block);
    else groups.push({ label, blocks: [block], previous: blocks[i - 1] });
  });
  return groups.map((group) => {
    // A stage of one block keeps the block's own name.
    const [only] = group.blocks;
    return group.blocks.length === 1 && only ? { ...group, label: only.name } : group;
  });
}

/** A name's parts without the last number: `stage1.0` → `stage1`. */
function stemParts(name: string): string[] {
  const parts = name.split(/[./]/).filter((part) => part !== "");
  while (parts.length > 1 && /^\d+$/.test(parts.at(-1)!)) parts.pop();
  return parts.length === 0 ? ["(root)"] : parts;
}

/** `48 → 96` over all blocks of a group. */
export function groupChannels({ blocks, previous }: BlockGroup<BlockFacts>): string {
  const [first, last] = [blocks[0], blocks.at(-1)];
  return first && last ? formatChannels(first, previous, last) : "";
}

/** `48 → 96`; without the input's where nothing tells how many groups there are. */
export function formatChannels(
  first: BlockFacts,
  previous: BlockFacts | undefined,
  last: BlockFacts = first,
): string {
  const outC = last.weightShape[0] ?? 0;
  const ungrouped = first.weightShape[1] ?? 0;
  // Taken as one group where that fits the block before.
  const fits = previous === undefined || previous.weightShape[0] === ungrouped;
  const inC = first.inC ?? (fits ? ungrouped : undefined);
  return `${inC ?? ""} → ${outC}`.trimStart();
}

/** The branches that most blocks of the group have, and in how many where not in all. */
export function groupBranches({ blocks }: BlockGroup<BlockFacts>): string {
  return mostFrequent(blocks.map(({ branches }) => formatBranches(branches)));
}

/** The kernels that blocks of a group become; without group counts where only these differ. */
export function groupKernels({ blocks }: BlockGroup<BlockFacts>): string {
  const sizes = new Set(blocks.map(formatKernelSize));
  const whole = new Set(blocks.map(formatKernel));
  const [size = ""] = sizes;
  return sizes.size === 1 && whole.size > 1 ? size : mostFrequent(blocks.map(formatKernel));
}

/** The text, or the most frequent of several with its share. */
function mostFrequent(texts: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  // Of equally frequent looks the richest.
  const [most] = [...counts].sort((a, b) => b[1] - a[1] || b[0].length - a[0].length);
  if (!most) return "";
  return counts.size === 1 ? most[0] : `${most[0]} (${most[1]} of ${texts.length})`;
}

/** `3×3+bn ∥ 1×1+bn ∥ bn`; equal branches once, with their number. */
export function formatBranches(branches: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const branch of branches) counts.set(branch, (counts.get(branch) ?? 0) + 1);
  return [...counts].map(([text, n]) => (n === 1 ? text : `${n} × ${text}`)).join(" ∥ ");
}

/** `3 × 3`, `3 × 3, 4 groups`, `3 × 3 depthwise` */
export function formatKernel(block: BlockFacts): string {
  const { weightShape, group } = block;
  const [outC = 0, perGroup = 0] = weightShape;
  const size = formatKernelSize(block);
  if (group === undefined || group === 1) return size;
  return perGroup === 1 && outC === group ? `${size} depthwise` : `${size}, ${group} groups`;
}

function formatKernelSize({ weightShape }: BlockFacts): string {
  const kernel = weightShape.slice(2);
  return kernel.length === 0 ? "linear" : formatSize(kernel);
}
