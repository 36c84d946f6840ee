/**
 * @file The architecture of a RepVGG from its keys and shapes alone.
 *
 * Blocks per stage come from the key names, widths and groups from the convolution weights (a weight's second dimension
 * is inC / group, and inC is the width before), SE and head from their own weights. Then the architecture's exact key
 * list is compared with the file: whatever is missing, surplus or of another shape is an error that names it.
 */

import { type DType, isFloatDType } from "../../core/dtype.ts";
import { badData } from "../../core/errors.ts";
import { formatShape, type LazyTensor, type Shape, type StateDict } from "../../core/tensor.ts";
import {
  AUX_STAGES,
  type RepVggArch,
  type RepVggBlock,
  type RepVggForm,
  type RepVggLayout,
  type RepVggStage,
  repVggBlocks,
  repVggStages,
  type SePosition,
  seName,
} from "./repvgg-arch.ts";
import { type BlockForm, expectedKeys } from "./repvgg-keys.ts";
import { checkModules } from "./repvgg-modules.ts";
import { nameRepVgg } from "./repvgg-variants.ts";

export interface InferRepVggOptions {
  /** For messages: the file. Default `checkpoint`. */
  readonly where?: string;
  /** Accept keys that no RepVGG has and list them in `surplus`, instead of refusing the file. Default false. */
  readonly allowSurplus?: boolean;
}

export interface InferredRepVgg {
  readonly arch: RepVggArch;
  readonly form: RepVggForm;
  /** What each block holds, in execution order. */
  readonly blocks: readonly { readonly prefix: string; readonly form: BlockForm }[];
  /** Keys that belong to no part of the net; empty unless `allowSurplus`. */
  readonly surplus: readonly string[];
}

/** Whether the keys are those of a RepVGG's first block: a quick look before `inferRepVgg`. */
export function hasRepVggKeys(state: StateDict): boolean {
  return STEM_WEIGHTS.some((key) => state.tensors.has(key));
}

/** Divisors the origin uses for the SE bottleneck; preferred when the shapes leave the choice. */
const USUAL_SE_REDUCTIONS = [16, 4] as const;
const STEM_WEIGHTS = ["stage0.rbr_dense.conv.weight", "stage0.rbr_reparam.weight"] as const;

/**
 * Infers the net whose state dict (any prefix already stripped) is `state`.
 *
 * @throws `bad-data` for a missing or surplus key, a shape that fits no RepVGG, or a module attribute (whole pickled
 * modules carry them) that contradicts the layout, naming the key.
 */
export function inferRepVgg(state: StateDict, options: InferRepVggOptions = {}): InferredRepVgg {
  const { where = "checkpoint", allowSurplus = false } = options;
  const { tensors } = state;
  const layout = inferLayout(tensors);
  const se = inferSe(tensors);
  const stages = repVggStages(layout);

  const stem = blockConv(tensors, "stage0", where);
  const stageBlocks = stages.map((stage) => countBlocks(tensors, stage, where));
  const groups = [1];
  const stageWidths: number[] = [];
  let inC = stem.outC;
  stages.forEach((stage, s) => {
    for (let i = 0; i < (stageBlocks[s] ?? 0); i++) {
      const conv = blockConv(tensors, `${stage.blocks}.${i}`, where);
      groups.push(groupOf(conv, inC, where));
      stageWidths[s] ??= conv.outC;
      inC = conv.outC;
    }
  });
  const linear = need(tensors, "linear.weight", where);
  if (linear.shape.length !== 2 || !(linear.shape[0]! > 0)) {
    throw shapeError(where, "linear.weight", linear.shape, `[classes, ${inC}]`);
  }
  const unnamed: RepVggArch = {
    layout,
    inputChannels: stem.filterC,
    stem: stem.outC,
    stageBlocks,
    stageWidths,
    groups,
    classes: linear.shape[0]!,
    se,
    auxHeads: layout === "repvggplus" && AUX_STAGES.some((s) => hasPrefix(tensors, `${s}_aux.`)),
  };
  const arch = nameRepVgg(
    se === "none"
      ? unnamed
      : { ...unnamed, seReduction: inferSeReduction(tensors, unnamed, where) },
  );

  const blocks = repVggBlocks(arch);
  const forms = blocks.map((block) => formOf(tensors, block.prefix));
  const surplus = compareKeys(tensors, arch, blocks, forms, where);
  if (surplus.length > 0 && !allowSurplus) throw surplusError(surplus, blocks, where);
  checkModules(state, blocks, where);
  return {
    arch,
    form: wholeForm(forms),
    blocks: blocks.map(({ prefix }, i) => ({ prefix, form: forms[i]! })),
    surplus,
  };
}

type Tensors = StateDict["tensors"];

function inferLayout(tensors: Tensors): RepVggLayout {
  for (const key of tensors.keys()) {
    if (/^stage\d(_first|_second)?\.blocks\./.test(key)) return "repvggplus";
  }
  return "repvgg";
}

function inferSe(tensors: Tensors): SePosition {
  for (const key of tensors.keys()) {
    const match = /^stage\w+(?:\.blocks)?(?:\.\d+)?\.(post_)?se\./.exec(key);
    if (match) return match[1] ? "after-relu" : "before-relu";
  }
  return "none";
}

/** Blocks of a stage, from the indices in its keys, which must be 0, 1, 2, … */
function countBlocks(tensors: Tensors, stage: RepVggStage, where: string): number {
  const indices = new Set<number>();
  for (const key of tensors.keys()) {
    if (!key.startsWith(`${stage.blocks}.`)) continue;
    const match = /^(0|[1-9]\d{0,8})\./.exec(key.slice(stage.blocks.length + 1));
    if (match) indices.add(Number(match[1]));
  }
  // At least one block, so that an absent stage is reported by its first key.
  for (let i = 0; i < Math.max(1, indices.size); i++) {
    if (!indices.has(i)) throw missingBlock(tensors, `${stage.blocks}.${i}`, where);
  }
  return indices.size;
}

interface BlockConv {
  readonly key: string;
  readonly shape: Shape;
  readonly outC: number;
  /** inC / group */
  readonly filterC: number;
}

/** The block's 3×3 convolution: the dense branch's, else the fused one. */
function blockConv(tensors: Tensors, prefix: string, where: string): BlockConv {
  const dense = `${prefix}.rbr_dense.conv.weight`;
  const fused = `${prefix}.rbr_reparam.weight`;
  const key = tensors.has(dense) || formOf(tensors, prefix) === "training" ? dense : fused;
  const found = tensors.get(key);
  if (!found) throw missingBlock(tensors, prefix, where);
  const [outC = 0, filterC = 0, kH, kW] = found.shape;
  if (found.shape.length !== 4 || kH !== 3 || kW !== 3 || outC < 1 || filterC < 1) {
    throw shapeError(where, key, found.shape, "[outC, inC/group, 3, 3]");
  }
  return { key, shape: found.shape, outC, filterC };
}

function groupOf(conv: BlockConv, inC: number, where: string): number {
  const group = inC / conv.filterC;
  if (Number.isInteger(group) && conv.outC % group === 0) return group;
  throw shapeError(
    where,
    conv.key,
    conv.shape,
    `[outC, inC/group, 3, 3] with inC = ${inC} (the block before) and a group count that divides both channel counts`,
  );
}

/** What the block has keys for. A block with neither branches nor a fused kernel counts as training form. */
function formOf(tensors: Tensors, prefix: string): BlockForm {
  const has = (part: string): boolean =>
    ["weight", "bias", "conv.weight", "bn.weight"].some((end) =>
      tensors.has(`${prefix}.${part}.${end}`),
    );
  const branches = has("rbr_dense") || has("rbr_1x1") || has("rbr_identity");
  if (!has("rbr_reparam")) return "training";
  return branches ? "both" : "deploy";
}

function wholeForm(forms: readonly BlockForm[]): RepVggForm {
  const first = forms[0];
  return first !== undefined && first !== "both" && forms.every((form) => form === first)
    ? first
    : "mixed";
}

/** The divisor r with hidden = ⌊channels / r⌋ in every block: r lies in (channels / (hidden + 1), channels / hidden]. */
function inferSeReduction(tensors: Tensors, arch: RepVggArch, where: string): number {
  let low = 0;
  let high = Number.POSITIVE_INFINITY;
  for (const { prefix, outC } of repVggBlocks(arch)) {
    if (arch.se === "none") break;
    const key = `${prefix}.${seName(arch.se)}.down.weight`;
    const { shape } = need(tensors, key, where);
    const hiddenC = shape[0] ?? 0;
    low = Math.max(low, outC / (hiddenC + 1));
    high = Math.min(high, outC / hiddenC);
    if (shape.length !== 4 || hiddenC < 1 || !(Math.floor(low) + 1 <= high)) {
      throw shapeError(
        where,
        key,
        shape,
        `[⌊${outC} / r⌋, ${outC}, 1, 1] with one whole r for all blocks`,
      );
    }
  }
  return USUAL_SE_REDUCTIONS.find((r) => r > low && r <= high) ?? Math.floor(low) + 1;
}

/** Compares the file with the architecture's exact key list; returns the surplus keys. */
function compareKeys(
  tensors: Tensors,
  arch: RepVggArch,
  blocks: readonly RepVggBlock[],
  forms: readonly BlockForm[],
  where: string,
): string[] {
  const expected = expectedKeys(arch, blocks, forms);
  const surplus = [...tensors.keys()].filter((key) => !expected.has(key));
  for (const [key, spec] of expected) {
    const found = tensors.get(key);
    if (!found) {
      // Checkpoints from before PyTorch 0.4.1 have no such counter, and nothing reads it.
      if (key.endsWith(".num_batches_tracked")) continue;
      throw missing(key, where, surplus[0]);
    }
    if (key.endsWith(".num_batches_tracked")) continue;
    if (formatShape(found.shape) !== formatShape(spec.shape)) {
      throw shapeError(where, key, found.shape, formatShape(spec.shape));
    }
    if (!isFloatDType(found.dtype)) throw dtypeError(where, key, found.dtype);
  }
  return surplus;
}

function need(tensors: Tensors, key: string, where: string): LazyTensor {
  const found = tensors.get(key);
  if (!found) throw missing(key, where);
  return found;
}

function hasPrefix(tensors: Tensors, prefix: string): boolean {
  for (const key of tensors.keys()) if (key.startsWith(prefix)) return true;
  return false;
}

function missingBlock(tensors: Tensors, prefix: string, where: string): Error {
  const deploy = STEM_WEIGHTS.every((key) => tensors.has(key) === (key === STEM_WEIGHTS[1]));
  return missing(`${prefix}.${deploy ? "rbr_reparam" : "rbr_dense.conv"}.weight`, where);
}

function missing(key: string, where: string, surplus?: string): Error {
  const also = surplus === undefined ? "" : `; the file has ${surplus}, which no such net has`;
  return badData(`${where}: ${key}`, `missing, expected in a RepVGG of these stages${also}`);
}

function surplusError(
  keys: readonly string[],
  blocks: readonly RepVggBlock[],
  where: string,
): Error {
  const key = keys[0]!;
  const block = blocks.find(({ prefix }) => key.startsWith(`${prefix}.rbr_identity.`));
  const why = block
    ? `surplus, expected no identity branch from ${block.inC} to ${block.outC} channels with stride ${block.stride}`
    : "surplus, expected no such key in a RepVGG of these stages";
  const more = keys.length > 1 ? ` (and ${keys.length - 1} more surplus keys)` : "";
  return badData(`${where}: ${key}`, why + more);
}

function shapeError(where: string, key: string, found: Shape, expected: string): Error {
  return badData(`${where}: ${key}`, `shape is ${formatShape(found)}, expected ${expected}`);
}

function dtypeError(where: string, key: string, found: DType): Error {
  return badData(
    `${where}: ${key}`,
    `dtype is ${found}, expected float32, float64, float16 or bfloat16`,
  );
}
