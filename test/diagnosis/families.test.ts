/** @file Faults that only some families can have: a convolution's bias, a learned scale, a batch norm after the sum. */

import { expect, test } from "vitest";
import type { CheckpointFile } from "../../src/convert/open.ts";
import { createRng } from "../../src/core/rng.ts";
import { float32Tensor, type LazyTensor, lazyTensor, readFloat64 } from "../../src/core/tensor.ts";
import { diagnose } from "../../src/diagnose/diagnose.ts";
import { checkpointFile, deployState, repVggNet } from "../support/diagnosis-nets.ts";
import { INJECTIONS } from "../support/inject.ts";
import {
  addBranch,
  branchKernel,
  type PlainBlock,
  type PlainKernel,
  plainFuse,
  readPlainBlock,
} from "../support/plain-fuse.ts";

const rng = createRng(41);

/** Random tensors by key: weights normal, γ and σ² positive. */
function tensorsOf(shapes: Readonly<Record<string, readonly number[]>>): Map<string, LazyTensor> {
  return new Map(
    Object.entries(shapes).map(([key, shape]) => {
      const count = shape.reduce((a, b) => a * b, 1);
      const positive = /running_var$|bn\.weight$/.test(key);
      const values = Array.from({ length: count }, () =>
        positive ? 0.5 + rng.next() : 0.3 * rng.normal(),
      );
      return [key, lazyTensor(float32Tensor(shape, values))];
    }),
  );
}

function norm(path: string, channels: number): Record<string, readonly number[]> {
  return Object.fromEntries(
    ["weight", "bias", "running_mean", "running_var"].map((name) => [
      `${path}.${name}`,
      [channels],
    ]),
  );
}

function kernelFile(
  kernel: PlainKernel,
  keys: readonly [string, string],
  shape: readonly number[],
): CheckpointFile {
  const tensors = new Map([
    [keys[0], lazyTensor(float32Tensor(shape, kernel.weight))],
    [keys[1], lazyTensor(float32Tensor([shape[0]!], kernel.bias))],
  ]);
  return checkpointFile("deploy.pth", { tensors, modules: new Map() });
}

async function causesOf(training: CheckpointFile, deploy: CheckpointFile): Promise<string[]> {
  const { findings } = await diagnose(training, deploy, { numerics: false });
  return findings.map(
    ({ cause, confidence, detail }) => `${cause} ${confidence}${detail ? `: ${detail}` : ""}`,
  );
}

test("the bias of a convolution before its batch norm was dropped", async () => {
  const net = await repVggNet("grouped", 6);
  const key = "stage1.1.rbr_dense.conv.bias";
  const tensors = new Map(net.state.tensors);
  tensors.set(
    key,
    lazyTensor(
      float32Tensor(
        [8],
        Array.from({ length: 8 }, () => rng.normal()),
      ),
    ),
  );
  const bias = await readFloat64(tensors.get(key)!);
  const blocks = net.blocks.map((block) => ({
    ...block,
    branches: block.branches.map((branch) => ({
      ...branch,
      bias: block.prefix === "stage1.1" && branch.name === "rbr_dense" ? bias : branch.bias,
    })),
  }));
  const withBias = { ...net, blocks, state: { tensors, modules: new Map() } };
  const training = checkpointFile("train.pth", withBias.state);
  const dropped = INJECTIONS.find(({ cause }) => cause === "conv-bias-dropped")!;
  const right = deployState(withBias);
  const wrong = deployState(withBias, (block) =>
    dropped.fits(block, withBias) ? dropped.apply(block, rng, withBias) : plainFuse(block),
  );
  expect(await causesOf(training, checkpointFile("deploy.pth", right))).toEqual([]);
  expect(await causesOf(training, checkpointFile("deploy.pth", wrong))).toEqual([
    "conv-bias-dropped proved: rbr_dense",
  ]);
});

test("alpha of a 1×1 branch was left out (PP-YOLOE)", async () => {
  const shapes = {
    "b.conv1.conv.weight": [6, 6, 3, 3],
    ...norm("b.conv1.bn", 6),
    "b.conv2.conv.weight": [6, 6, 1, 1],
    ...norm("b.conv2.bn", 6),
  };
  const tensors = tensorsOf(shapes);
  tensors.set("b.alpha", lazyTensor(float32Tensor([1], [0.625])));
  const state = { tensors, modules: new Map() };
  const block = await readPlainBlock(
    state,
    { prefix: "b", inC: 6, outC: 6, group: 1, kernel: 3 },
    ["conv1", "conv2"].map((name) => ({ name, conv: `b.${name}.conv`, bn: `b.${name}.bn` })),
    "conv",
  );
  const training = checkpointFile("train.pth", state);
  const deploy = (alpha: number): CheckpointFile =>
    kernelFile(sum(block, [1, alpha]), ["b.conv.weight", "b.conv.bias"], [6, 6, 3, 3]);
  expect(await causesOf(training, deploy(0.625))).toEqual([]);
  expect(await causesOf(training, deploy(1))).toEqual(["scale-ignored proved: conv2"]);
});

/** Branches added with factors. */
function sum(block: PlainBlock, factors: readonly number[]): PlainKernel {
  const total = {
    weight: new Float64Array(block.outC * block.inC * 9),
    bias: new Float64Array(block.outC),
  };
  for (const [j, branch] of block.branches.entries()) {
    const { weight, bias } = branchKernel(block, branch);
    addBranch(total, {
      weight: weight.map((w) => w * factors[j]!),
      bias: bias.map((b) => b * factors[j]!),
    });
  }
  return total;
}

test.each([
  ["folded", []],
  ["left out", ["post-bn-missing proved: after the sum"]],
  ["folded without its mean", ["running-mean-ignored proved"]],
  ["folded with another epsilon", ["bn-epsilon proved: deploy used 1e-1, the model says 1e-3"]],
] as const)("the batch norm after the sum was %s (Ultralytics Conv2)", async (how, expected) => {
  const tensors = tensorsOf({
    "m.conv.weight": [6, 4, 3, 3],
    "m.cv2.weight": [6, 4, 1, 1],
    ...norm("m.bn", 6),
  });
  const state = { tensors, modules: new Map() };
  const read = (key: string): Promise<Float64Array> => readFloat64(tensors.get(key)!);
  const [dense, small] = [await read("m.conv.weight"), await read("m.cv2.weight")];
  const [gamma, beta, mean, variance] = await Promise.all(
    ["weight", "bias", "running_mean", "running_var"].map((name) => read(`m.bn.${name}`)),
  );
  const epsilon = how.includes("epsilon") ? 0.1 : 1e-3;
  const kernel = { weight: dense.slice(), bias: new Float64Array(6) };
  for (let o = 0; o < 6; o++) {
    const s = how === "left out" ? 1 : gamma![o]! / Math.sqrt(variance![o]! + epsilon);
    for (let c = 0; c < 4; c++) kernel.weight[(o * 4 + c) * 9 + 4]! += small[o * 4 + c]!;
    for (let i = o * 36; i < (o + 1) * 36; i++) kernel.weight[i]! *= s;
    if (how !== "left out") kernel.bias[o] = beta![o]! - (how.includes("mean") ? 0 : mean![o]! * s);
  }
  const training = { ...checkpointFile("train.pth", state), reading: { family: "ultralytics" } };
  const deploy = kernelFile(kernel, ["m.conv.weight", "m.conv.bias"], [6, 4, 3, 3]);
  const found = await causesOf(training, { ...deploy, reading: {} });
  expect(
    found.map((text) =>
      text.replace(/ \(after the sum only\)|: after the sum$/, (m) =>
        how === "left out" ? m : "",
      ),
    ),
  ).toEqual(expected);
});
