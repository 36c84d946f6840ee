/** @file The published RepVGG variants as rows, and an architecture by name. */

import { ReparamError } from "../../core/errors.ts";
import { closestNames } from "./closest-names.ts";
import type { RepVggArch, RepVggLayout, SePosition } from "./repvgg-arch.ts";

/** One published variant, in the words of its paper. */
export interface RepVggVariant {
  readonly name: string;
  /** Blocks in stages 1 to 4 (`num_blocks`). */
  readonly blocks: readonly [number, number, number, number];
  /** `width_multiplier`: stages 1 to 4 have 64, 128, 256 and 512 channels times this. */
  readonly width: readonly [number, number, number, number];
  /** Groups of every second block; 1 = none. */
  readonly groups: number;
  readonly se: SePosition;
  readonly seReduction?: number;
  readonly layout: RepVggLayout;
}

const A = [2, 4, 14, 1] as const;
const B = [4, 6, 16, 1] as const;
const D = [8, 14, 24, 1] as const;
const plain = { groups: 1, se: "none", layout: "repvgg" } as const;

/** RepVGG-A0 … D2se and RepVGGplus-L2pse. */
export const REPVGG_VARIANTS: readonly RepVggVariant[] = [
  { name: "RepVGG-A0", blocks: A, width: [0.75, 0.75, 0.75, 2.5], ...plain },
  { name: "RepVGG-A1", blocks: A, width: [1, 1, 1, 2.5], ...plain },
  { name: "RepVGG-A2", blocks: A, width: [1.5, 1.5, 1.5, 2.75], ...plain },
  { name: "RepVGG-B0", blocks: B, width: [1, 1, 1, 2.5], ...plain },
  { name: "RepVGG-B1", blocks: B, width: [2, 2, 2, 4], ...plain },
  { name: "RepVGG-B1g2", blocks: B, width: [2, 2, 2, 4], ...plain, groups: 2 },
  { name: "RepVGG-B1g4", blocks: B, width: [2, 2, 2, 4], ...plain, groups: 4 },
  { name: "RepVGG-B2", blocks: B, width: [2.5, 2.5, 2.5, 5], ...plain },
  { name: "RepVGG-B2g2", blocks: B, width: [2.5, 2.5, 2.5, 5], ...plain, groups: 2 },
  { name: "RepVGG-B2g4", blocks: B, width: [2.5, 2.5, 2.5, 5], ...plain, groups: 4 },
  { name: "RepVGG-B3", blocks: B, width: [3, 3, 3, 5], ...plain },
  { name: "RepVGG-B3g2", blocks: B, width: [3, 3, 3, 5], ...plain, groups: 2 },
  { name: "RepVGG-B3g4", blocks: B, width: [3, 3, 3, 5], ...plain, groups: 4 },
  {
    name: "RepVGG-D2se",
    blocks: D,
    width: [2.5, 2.5, 2.5, 5],
    ...plain,
    se: "before-relu",
    seReduction: 16,
  },
  {
    name: "RepVGGplus-L2pse",
    blocks: D,
    width: [2.5, 2.5, 2.5, 5],
    groups: 1,
    se: "after-relu",
    seReduction: 4,
    layout: "repvggplus",
  },
];

/** The last block (counted over the whole net) that the published grouped variants give groups to. */
const LAST_GROUPED_BLOCK = 26;
const BASE_WIDTHS = [64, 128, 256, 512] as const;
const IMAGENET_CLASSES = 1000;

/** What differs from the published net. */
export interface RepVggOverrides {
  /** Default 1000 (ImageNet). */
  readonly classes?: number;
  /** Default 3. */
  readonly inputChannels?: number;
}

/**
 * The architecture of a published variant. Upper and lower case, `-` or `_`, and a left-out `RepVGG-` do not matter:
 * `RepVGG-A0`, `repvgg_a0` and `A0` are the same.
 *
 * @throws `usage` for an unknown name (the nearest known ones are listed) or an override that is not a positive integer.
 */
export function repVggArch(name: string, overrides: RepVggOverrides = {}): RepVggArch {
  const { classes = IMAGENET_CLASSES, inputChannels = 3 } = overrides;
  for (const [option, value] of Object.entries({ classes, inputChannels })) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new ReparamError("usage", {
      where: `repVggArch: ${option}`,
      what: `${value}, expected a positive integer`,
    });
  }
  const variant = REPVGG_VARIANTS.find((row) => plainName(row.name) === plainName(name));
  if (!variant) {
    const names = REPVGG_VARIANTS.map((row) => row.name);
    throw new ReparamError("usage", {
      where: `architecture ${JSON.stringify(name)}`,
      what: "no published RepVGG has this name",
      fix: `Did you mean ${closestNames(withFamily(name), names).join(", ")}?`,
    });
  }
  return archOfVariant(variant, classes, inputChannels);
}

function archOfVariant(row: RepVggVariant, classes: number, inputChannels: number): RepVggArch {
  const [n1, n2, n3, n4] = row.blocks;
  const [w1, w2, w3, w4] = BASE_WIDTHS.map((base, s) => Math.trunc(base * row.width[s]!)) as [
    number,
    number,
    number,
    number,
  ];
  const plus = row.layout === "repvggplus";
  const half = Math.floor(n3 / 2);
  const stageBlocks = plus ? [n1, n2, half, n3 - half, n4] : [n1, n2, n3, n4];
  const count = 1 + n1 + n2 + n3 + n4;
  return {
    name: row.name,
    layout: row.layout,
    inputChannels,
    stem: Math.min(64, w1),
    stageBlocks,
    stageWidths: plus ? [w1, w2, w3, w3, w4] : [w1, w2, w3, w4],
    groups: Array.from({ length: count }, (_, block) => groupOfBlock(block, row.groups)),
    classes,
    se: row.se,
    ...(row.seReduction === undefined ? {} : { seReduction: row.seReduction }),
    auxHeads: plus,
  };
}

/** Blocks 2, 4, …, 26 are the grouped ones; `stage0` is block 0. */
function groupOfBlock(block: number, groups: number): number {
  return block >= 2 && block % 2 === 0 && block <= LAST_GROUPED_BLOCK ? groups : 1;
}

/** The same architecture with its published name, if its stages, groups and SE are those of a published variant. */
export function nameRepVgg(arch: RepVggArch): RepVggArch {
  const same = REPVGG_VARIANTS.find((row) => {
    const published = archOfVariant(row, arch.classes, arch.inputChannels);
    return identity(published) === identity(arch);
  });
  const { name: _, ...rest } = arch;
  return same ? { name: same.name, ...rest } : rest;
}

/** What makes two nets the same variant: not their head, not their auxiliary heads, not their input channels. */
function identity(arch: RepVggArch): string {
  const { layout, stem, stageBlocks, stageWidths, groups, se, seReduction } = arch;
  return JSON.stringify([layout, stem, stageBlocks, stageWidths, groups, se, seReduction]);
}

function plainName(name: string): string {
  return name
    .toLowerCase()
    .replace(/[-_ ]/g, "")
    .replace(/^repvgg(?!plus)/, "");
}

function withFamily(name: string): string {
  return /^rep/i.test(name) ? name : `RepVGG-${name}`;
}
