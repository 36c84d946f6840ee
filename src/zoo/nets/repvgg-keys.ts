/** @file The state dict a RepVGG must have: names, shapes and dtypes, in the order PyTorch writes them. */

import type { DType } from "../../core/dtype.ts";
import type { Shape } from "../../core/tensor.ts";
import { auxStages, type RepVggArch, type RepVggBlock, repVggBlocks } from "./repvgg-arch.ts";

/** What a tensor must look like. */
export interface KeySpec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** What a block holds: its branches, its fused kernel, or (a stale file) both. */
export type BlockForm = "training" | "deploy" | "both";

/** The exact state dict of `arch`; a deploy form has no auxiliary heads. */
export function repVggKeys(arch: RepVggArch, form: "training" | "deploy"): Map<string, KeySpec> {
  const blocks = repVggBlocks(arch);
  return expectedKeys(
    form === "deploy" ? { ...arch, auxHeads: false } : arch,
    blocks,
    blocks.map(() => form),
  );
}

/** The state dict when each block may be in a form of its own. */
export function expectedKeys(
  arch: RepVggArch,
  blocks: readonly RepVggBlock[],
  forms: readonly BlockForm[],
): Map<string, KeySpec> {
  const keys = new Map<string, KeySpec>();
  blocks.forEach((block, i) => {
    addBlock(keys, block, forms[i] ?? "training");
  });
  addLinear(keys, "linear", arch.classes, blocks.at(-1)?.outC ?? 0);
  for (const stage of auxStages(arch)) {
    const channels = blocks.find((block) => block.endsStage === stage)?.outC ?? 0;
    keys.set(`${stage}_aux.0.conv.weight`, float([channels, channels, 3, 3]));
    addBatchNorm(keys, `${stage}_aux.0.bn`, channels);
    addLinear(keys, `${stage}_aux.3`, arch.classes, channels);
  }
  return keys;
}

function addBlock(keys: Map<string, KeySpec>, block: RepVggBlock, form: BlockForm): void {
  const { prefix, outC, group, se } = block;
  const filterC = block.inC / group;
  if (se) {
    addConv(keys, `${se.prefix}.down`, [se.hiddenC, outC, 1, 1]);
    addConv(keys, `${se.prefix}.up`, [outC, se.hiddenC, 1, 1]);
  }
  if (form !== "deploy") {
    if (block.identity) addBatchNorm(keys, `${prefix}.rbr_identity`, outC);
    keys.set(`${prefix}.rbr_dense.conv.weight`, float([outC, filterC, 3, 3]));
    addBatchNorm(keys, `${prefix}.rbr_dense.bn`, outC);
    keys.set(`${prefix}.rbr_1x1.conv.weight`, float([outC, filterC, 1, 1]));
    addBatchNorm(keys, `${prefix}.rbr_1x1.bn`, outC);
  }
  if (form !== "training") addConv(keys, `${prefix}.rbr_reparam`, [outC, filterC, 3, 3]);
}

function addConv(keys: Map<string, KeySpec>, path: string, shape: Shape): void {
  keys.set(`${path}.weight`, float(shape));
  keys.set(`${path}.bias`, float([shape[0] ?? 0]));
}

function addLinear(keys: Map<string, KeySpec>, path: string, outC: number, inC: number): void {
  addConv(keys, path, [outC, inC]);
}

function addBatchNorm(keys: Map<string, KeySpec>, path: string, channels: number): void {
  for (const name of ["weight", "bias", "running_mean", "running_var"]) {
    keys.set(`${path}.${name}`, float([channels]));
  }
  keys.set(`${path}.num_batches_tracked`, { shape: [], dtype: "int64" });
}

function float(shape: Shape): KeySpec {
  return { shape, dtype: "float32" };
}

/** Learned numbers of a form, without BatchNorm's running statistics. */
export function countParameters(keys: ReadonlyMap<string, KeySpec>): number {
  let count = 0;
  for (const [name, { shape }] of keys) {
    if (/\.(running_mean|running_var|num_batches_tracked)$/.test(name)) continue;
    count += shape.reduce((product, n) => product * n, 1);
  }
  return count;
}
