/** @file Nets for the diagnosis tests: A0-like with 22 narrow blocks, a grouped one, and one with MobileOne blocks. */

import type { CheckpointFile } from "../../src/convert/open.ts";
import { createRng } from "../../src/core/rng.ts";
import {
  float32Tensor,
  type LazyTensor,
  lazyTensor,
  type StateDict,
} from "../../src/core/tensor.ts";
import { createRepVgg, type RepVggArch, repVggBlocks } from "../../src/zoo/nets/index.ts";
import {
  float32Lazy,
  type PlainBlock,
  type PlainKernel,
  plainFuse,
  readPlainBlock,
} from "./plain-fuse.ts";

export interface DiagnosisNet {
  readonly name: string;
  readonly state: StateDict;
  readonly blocks: readonly PlainBlock[];
  readonly arch: RepVggArch | undefined;
}

const A0_LIKE: RepVggArch = {
  layout: "repvgg",
  inputChannels: 3,
  stem: 6,
  stageBlocks: [2, 4, 14, 1],
  stageWidths: [6, 8, 10, 12],
  groups: Array<number>(22).fill(1),
  classes: 5,
  se: "none",
  auxHeads: false,
};

const GROUPED: RepVggArch = {
  layout: "repvgg",
  inputChannels: 3,
  stem: 8,
  stageBlocks: [2, 2, 4, 1],
  stageWidths: [8, 12, 16, 20],
  groups: [1, 1, 4, 1, 4, 1, 4, 1, 4, 1],
  classes: 5,
  se: "none",
  auxHeads: false,
};

export async function repVggNet(name: "a0-like" | "grouped", seed: number): Promise<DiagnosisNet> {
  const arch = name === "a0-like" ? A0_LIKE : GROUPED;
  const state = createRepVgg(arch, "training", { seed });
  const blocks: PlainBlock[] = [];
  for (const { prefix, inC, outC, group, identity } of repVggBlocks(arch)) {
    const branches = [
      { name: "rbr_dense", conv: `${prefix}.rbr_dense.conv`, bn: `${prefix}.rbr_dense.bn` },
      { name: "rbr_1x1", conv: `${prefix}.rbr_1x1.conv`, bn: `${prefix}.rbr_1x1.bn` },
      ...(identity
        ? [{ name: "rbr_identity", conv: undefined, bn: `${prefix}.rbr_identity` }]
        : []),
    ];
    blocks.push(
      await readPlainBlock(state, { prefix, inC, outC, group, kernel: 3 }, branches, "rbr_reparam"),
    );
  }
  return { name, state, blocks, arch };
}

/** stage0 dense 3×3, then pairs of a depthwise 3×3 and a pointwise block; four convolutions per block. */
export async function mobileOneNet(seed: number): Promise<DiagnosisNet> {
  const rng = createRng(seed);
  const tensors = new Map<string, LazyTensor>();
  const put = (key: string, shape: readonly number[], make: () => number): void => {
    const count = shape.reduce((a, b) => a * b, 1);
    tensors.set(key, lazyTensor(float32Tensor(shape, Array.from({ length: count }, make))));
  };
  const norm = (path: string, channels: number): void => {
    put(
      `${path}.weight`,
      [channels],
      () => (0.4 + 0.8 * rng.next()) * (rng.next() < 0.25 ? -1 : 1),
    );
    put(`${path}.bias`, [channels], () => 0.2 * rng.normal());
    put(`${path}.running_mean`, [channels], () => 0.2 * rng.normal());
    put(`${path}.running_var`, [channels], () => 1 + 2 * rng.next());
  };
  const specs = [
    { prefix: "stage0", inC: 3, outC: 12, group: 1, kernel: 3 },
    { prefix: "stage1.0", inC: 12, outC: 12, group: 12, kernel: 3 },
    { prefix: "stage1.1", inC: 12, outC: 16, group: 1, kernel: 1 },
    { prefix: "stage1.2", inC: 16, outC: 16, group: 16, kernel: 3 },
    { prefix: "stage1.3", inC: 16, outC: 16, group: 1, kernel: 1 },
    { prefix: "stage2.0", inC: 16, outC: 16, group: 16, kernel: 3 },
    { prefix: "stage2.1", inC: 16, outC: 16, group: 1, kernel: 1 },
  ];
  const blocks: PlainBlock[] = [];
  for (const spec of specs) {
    const { prefix, inC, outC, group, kernel } = spec;
    const branches: { name: string; conv: string | undefined; bn: string }[] = [];
    const conv = (name: string, k: number): void => {
      const fanIn = (inC / group) * k * k;
      put(
        `${prefix}.${name}.conv.weight`,
        [outC, inC / group, k, k],
        () => rng.normal() / Math.sqrt(fanIn),
      );
      norm(`${prefix}.${name}.bn`, outC);
      branches.push({ name, conv: `${prefix}.${name}.conv`, bn: `${prefix}.${name}.bn` });
    };
    for (let i = 0; i < 4; i++) conv(`rbr_conv.${i}`, kernel);
    if (kernel > 1) conv("rbr_scale", 1);
    // Stride 2 between the stages: no skip there.
    if (inC === outC && prefix !== "stage2.0") {
      norm(`${prefix}.rbr_skip`, outC);
      branches.push({ name: "rbr_skip", conv: undefined, bn: `${prefix}.rbr_skip` });
    }
    const state = { tensors, modules: new Map() };
    blocks.push(await readPlainBlock(state, spec, branches, "reparam_conv"));
  }
  put("linear.weight", [5, 16], () => 0.1 * rng.normal());
  put("linear.bias", [5], () => 0.1 * rng.normal());
  return {
    name: "mobileone-like",
    state: { tensors, modules: new Map() },
    blocks,
    arch: undefined,
  };
}

/** What every injected fault is tried on. */
export const DIAGNOSIS_NETS: Readonly<Record<string, (seed: number) => Promise<DiagnosisNet>>> = {
  "22 blocks, as A0": (seed) => repVggNet("a0-like", seed),
  grouped: (seed) => repVggNet("grouped", seed),
  "MobileOne blocks": mobileOneNet,
};

export function checkpointFile(
  name: string,
  state: StateDict,
  others: Readonly<Record<string, StateDict>> = {},
): CheckpointFile {
  const dicts = { model: state, ...others };
  const single = Object.keys(others).length === 0;
  return {
    kind: "checkpoint",
    name,
    format: "pytorch-zip",
    checkpoint: {
      format: "pytorch-zip",
      source: name,
      candidates: Object.entries(dicts).map(([path, dict]) => ({
        path: single ? "" : path,
        tensors: dict.tensors.size,
        state: dict,
      })),
      metadata: {},
    },
    key: single ? "" : "model",
    state,
    prefix: "",
    reading: {},
  };
}

/** Everything outside the blocks as in training, the blocks as given (default: fused in float64). */
export function deployState(
  net: DiagnosisNet,
  fuse: (block: PlainBlock) => PlainKernel = plainFuse,
): StateDict {
  const tensors = new Map<string, LazyTensor>();
  for (const block of net.blocks) {
    const { weight, bias } = fuse(block);
    const { outC, inC, group, kernel } = block;
    tensors.set(block.weightKey, float32Lazy([outC, inC / group, kernel, kernel], weight));
    tensors.set(block.biasKey, float32Lazy([outC], bias));
  }
  for (const [key, value] of net.state.tensors) {
    if (!net.blocks.some((block) => key.startsWith(`${block.prefix}.`))) tensors.set(key, value);
  }
  return { tensors, modules: new Map() };
}
