/** @file What whole files say: form, prefix, coverage, shapes, tensors outside the blocks, other state dicts, formats. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openModelFile } from "../../src/convert/open.ts";
import { memorySource } from "../../src/core/byte-source.ts";
import { createRng } from "../../src/core/rng.ts";
import {
  float32Tensor,
  type LazyTensor,
  lazyTensor,
  type StateDict,
} from "../../src/core/tensor.ts";
import { diagnose } from "../../src/diagnose/diagnose.ts";
import type { Finding } from "../../src/diagnose/finding.ts";
import {
  checkpointFile,
  type DiagnosisNet,
  deployState,
  repVggNet,
} from "../support/diagnosis-nets.ts";
import { plainFuse } from "../support/plain-fuse.ts";

const net = await repVggNet("grouped", 21);

async function findings(
  training: StateDict,
  deploy: StateDict,
  others: Readonly<Record<string, StateDict>> = {},
): Promise<readonly Finding[]> {
  const result = await diagnose(
    checkpointFile("train.pth", training, others),
    checkpointFile("deploy.pth", deploy),
    { numerics: false },
  );
  return result.findings;
}

function changed(state: StateDict, change: (tensors: Map<string, LazyTensor>) => void): StateDict {
  const tensors = new Map(state.tensors);
  change(tensors);
  return { ...state, tensors };
}

function ones(shape: readonly number[], value = 1): LazyTensor {
  const count = shape.reduce((a, b) => a * b, 1);
  return lazyTensor(float32Tensor(shape, Array<number>(count).fill(value)));
}

const causes = (list: readonly Finding[]): string[] => list.map(({ cause }) => cause);

test("files in the wrong order are compared the other way round", async () => {
  const list = await findings(deployState(net), net.state);
  expect(causes(list)).toEqual(["swapped-files"]);
});

test("a deploy file that still has its branches", async () => {
  expect(causes(await findings(net.state, net.state))).toEqual(["deploy-not-converted"]);
});

test("a training file without branches", async () => {
  const deploy = deployState(net);
  expect(causes(await findings(deploy, deploy))).toEqual(["training-already-deployed"]);
});

test("a half-converted deploy file names the blocks that are left", async () => {
  const half = changed(deployState(net), (tensors) => {
    tensors.delete("stage1.0.rbr_reparam.weight");
    tensors.delete("stage1.0.rbr_reparam.bias");
    for (const [key, value] of net.state.tensors)
      if (key.startsWith("stage1.0.")) tensors.set(key, value);
  });
  const list = await findings(net.state, half);
  expect(list[0]).toMatchObject({ cause: "half-converted", blocks: ["stage1.0"] });
});

test("a prefix matters only where something is wrong", async () => {
  const prefixed = (state: StateDict): StateDict => ({
    ...state,
    tensors: new Map([...state.tensors].map(([key, value]) => [`module.${key}`, value])),
  });
  const open = (state: StateDict) => ({
    ...checkpointFile("deploy.pth", prefixed(state)),
    prefix: "module.",
  });
  const good = await diagnose(checkpointFile("train.pth", net.state), open(deployState(net)));
  expect(good.findings).toEqual([]);
  const other = deployState(await repVggNet("grouped", 22));
  const bad = await diagnose(checkpointFile("train.pth", net.state), open(other), {
    numerics: false,
  });
  expect(causes(bad.findings)).toContain("prefix-differs");
  expect(causes(bad.findings)).toContain("unrelated-weights");
});

test("a head that was not copied, with its size", async () => {
  const list = await findings(
    net.state,
    changed(deployState(net), (tensors) => tensors.set("linear.weight", ones([5, 20], 0.01))),
  );
  expect(list).toHaveLength(1);
  expect(list[0]).toMatchObject({
    cause: "tensor-not-copied",
    blocks: ["linear.weight"],
    confidence: "proved",
  });
});

test("batch norm buffers outside the blocks that were not copied", async () => {
  const neck = (mean: number, variance: number) => (tensors: Map<string, LazyTensor>) => {
    tensors.set("neck.bn.weight", ones([4], 0.5));
    tensors.set("neck.bn.running_mean", ones([4], mean));
    tensors.set("neck.bn.running_var", ones([4], variance));
  };
  const list = await findings(
    changed(net.state, neck(0.25, 3)),
    changed(deployState(net), neck(0, 1)),
  );
  expect(list).toHaveLength(1);
  expect(list[0]).toMatchObject({
    cause: "statistics-not-copied",
    blocks: ["neck.bn.running_mean", "neck.bn.running_var"],
  });
});

test("missing, surplus and reshaped tensors are told apart", async () => {
  const list = await findings(
    changed(net.state, (tensors) => tensors.set("extra.weight", ones([3, 3], 2))),
    changed(deployState(net), (tensors) => {
      tensors.set("other.weight", ones([7], 3));
      tensors.set("linear.bias", ones([6]));
    }),
  );
  expect(Object.fromEntries(list.map(({ cause, blocks }) => [cause, blocks]))).toEqual({
    "shape-differs": ["linear.bias"],
    "tensors-missing": ["extra.weight"],
    "tensors-surplus": ["linear.bias", "other.weight"].filter((name) => name !== "linear.bias"),
  });
  expect(list.find(({ cause }) => cause === "shape-differs")!.detail).toBe(
    "linear.bias [6], expected [5]",
  );
});

test("a block of another width is a shape, not an unknown kernel", async () => {
  const list = await findings(
    net.state,
    changed(deployState(net), (tensors) =>
      tensors.set("stage1.0.rbr_reparam.weight", ones([8, 4, 3, 3])),
    ),
  );
  expect(list[0]).toMatchObject({
    cause: "shape-differs",
    detail: "stage1.0.rbr_reparam.weight [8, 4, 3, 3], expected [8, 8, 3, 3]",
  });
});

test("a deploy form made from the averaged weights of the same file", async () => {
  const ema = await averaged();
  const list = await findings(net.state, deployState(ema), { ema: ema.state });
  expect(causes(list)).toEqual(["other-state-dict", "other-state-dict"]);
  expect(list[0]).toMatchObject({
    confidence: "proved",
    detail: 'it is the exact fuse of "ema", not of "model"',
  });
  expect(list[0]!.blocks).toHaveLength(net.blocks.length);
  expect(list[1]).toMatchObject({ blocks: ["linear.weight", "linear.bias"] });
});

/** The same net with all weights moved by 2 %. */
async function averaged(): Promise<DiagnosisNet> {
  const rng = createRng(5);
  const tensors = new Map<string, LazyTensor>();
  for (const [key, value] of net.state.tensors) {
    if (value.dtype !== "float32") {
      tensors.set(key, value);
      continue;
    }
    const bytes = (await value.read()).slice();
    const values = new Float32Array(bytes.buffer).map((x) => x * (1 + 0.02 * rng.normal()));
    tensors.set(key, lazyTensor(float32Tensor(value.shape, values)));
  }
  const state = { tensors, modules: new Map() };
  const { readPlainBlock } = await import("../support/plain-fuse.ts");
  const blocks = await Promise.all(
    net.blocks.map(({ prefix, inC, outC, group, kernel, branches }) =>
      readPlainBlock(
        state,
        { prefix, inC, outC, group, kernel },
        branches.map(({ name, role }) => ({
          name,
          conv: role === "identity" ? undefined : `${prefix}.${name}.conv`,
          bn: role === "identity" ? `${prefix}.${name}` : `${prefix}.${name}.bn`,
        })),
        "rbr_reparam",
      ),
    ),
  );
  return { ...net, state, blocks };
}

test("PyTorch's averaged weights, deployed beside the raw ones", async () => {
  const at = (file: string): string =>
    fileURLToPath(new URL(`../fixtures/wrapper-ddp-ema/${file}`, import.meta.url));
  const open = (file: string, key?: string) =>
    openModelFile(memorySource(file, readFileSync(at(file))), key === undefined ? {} : { key });
  const { findings: list } = await diagnose(
    await open("train.pth", "state_dict"),
    await open("deploy-ema.pth"),
    { numerics: false },
  );
  expect(list[0]).toMatchObject({ cause: "other-state-dict", confidence: "proved" });
  expect(new Set(causes(list).filter((cause) => cause !== "prefix-differs"))).toEqual(
    new Set(["other-state-dict"]),
  );
});

test("a stale kernel beside newer branches was deployed", async () => {
  const old = plainFuse((await repVggNet("grouped", 30)).blocks[1]!);
  const stale = [old.weight, old.bias].map((values) => Float32Array.from(values));
  const [block] = [net.blocks[1]!];
  const training = changed(net.state, (tensors) => {
    tensors.set(block.weightKey, lazyTensor(float32Tensor([8, 8, 3, 3], stale[0]!)));
    tensors.set(block.biasKey, lazyTensor(float32Tensor([8], stale[1]!)));
  });
  const list = await findings(
    training,
    deployState(net, (each) => (each === block ? old : plainFuse(each))),
  );
  expect(list).toHaveLength(1);
  expect(list[0]).toMatchObject({
    cause: "stale-cached-kernel",
    blocks: [block.prefix],
    confidence: "proved",
  });
});

test("an int8 grid per filter", async () => {
  const [block] = [net.blocks[3]!];
  const list = await findings(
    net.state,
    deployState(net, (each) => {
      const kernel = plainFuse(each);
      if (each !== block) return kernel;
      const size = kernel.weight.length / each.outC;
      for (let o = 0; o < each.outC; o++) {
        const row = kernel.weight.subarray(o * size, (o + 1) * size);
        const step = Math.max(...row.map(Math.abs)) / 127;
        for (let i = 0; i < size; i++) row[i] = Math.round(row[i]! / step) * step;
      }
      return kernel;
    }),
  );
  expect(list).toHaveLength(1);
  expect(list[0]).toMatchObject({
    cause: "lower-precision",
    detail: "int8",
    blocks: [block.prefix],
  });
});
