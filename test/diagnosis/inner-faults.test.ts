/** @file Faults inside one branch: in a nested sum, in one of several convolutions, in the order of one branch's channels. */

import { expect, test } from "vitest";
import type { CheckpointFile } from "../../src/convert/open.ts";
import { createRng } from "../../src/core/rng.ts";
import { float32Tensor, type LazyTensor, lazyTensor, readFloat64 } from "../../src/core/tensor.ts";
import { diagnose } from "../../src/diagnose/diagnose.ts";
import { checkpointFile, deployState, repVggNet } from "../support/diagnosis-nets.ts";
import {
  branchKernel,
  type PlainBlock,
  type PlainKernel,
  plainFuse,
  readPlainBlock,
} from "../support/plain-fuse.ts";

const rng = createRng(23);

function randomTensor(shape: readonly number[], make: () => number): LazyTensor {
  const count = shape.reduce((a, b) => a * b, 1);
  return lazyTensor(float32Tensor(shape, Array.from({ length: count }, make)));
}

async function said(training: CheckpointFile, deploy: CheckpointFile): Promise<string[]> {
  const { findings } = await diagnose(training, deploy, { numerics: false });
  return findings.map(({ cause, confidence, detail }) => `${cause} ${confidence}: ${detail}`);
}

function deployFile(kernel: PlainKernel, shape: readonly number[], name: string): CheckpointFile {
  const tensors = new Map([
    [`${name}.weight`, lazyTensor(float32Tensor(shape, kernel.weight))],
    [`${name}.bias`, lazyTensor(float32Tensor([shape[0]!], kernel.bias))],
  ]);
  return checkpointFile("deploy.pth", { tensors, modules: new Map() });
}

/** RT4KSR: x + R·(F ∗ (E·x + e) + f + inner·(E·x + e)) + r, all borders padded with e. */
async function rt4ksr() {
  const [C, M] = [4, 6];
  const normal = () => 0.4 * rng.normal();
  const tensors = new Map(
    Object.entries({
      "b.expand_conv.weight": [M, C, 1, 1],
      "b.expand_conv.bias": [M],
      "b.fea_conv.weight": [M, M, 3, 3],
      "b.fea_conv.bias": [M],
      "b.reduce_conv.weight": [C, M, 1, 1],
      "b.reduce_conv.bias": [C],
    }).map(([key, shape]) => [key, randomTensor(shape, normal)] as const),
  );
  const [E, e, F, f, R, r] = (await Promise.all(
    [...tensors.values()].map((value) => readFloat64(value)),
  )) as [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];
  const fuse = ({ inner = 1, outer = 1, feaBias = 1 }): PlainKernel => {
    const kernel = { weight: new Float64Array(C * C * 9), bias: new Float64Array(C) };
    for (let o = 0; o < C; o++) {
      kernel.bias[o] = r[o]!;
      kernel.weight[(o * C + o) * 9 + 4] = outer;
      for (let m = 0; m < M; m++) {
        const reduce = R[o * M + m]!;
        kernel.bias[o]! += reduce * (feaBias * f[m]! + inner * e[m]!);
        for (let c = 0; c < C; c++) {
          kernel.weight[(o * C + c) * 9 + 4]! += reduce * inner * E[m * C + c]!;
        }
        for (let n = 0; n < M; n++) {
          for (let t = 0; t < 9; t++) {
            const fea = reduce * F[(m * M + n) * 9 + t]!;
            kernel.bias[o]! += fea * e[n]!;
            for (let c = 0; c < C; c++) {
              kernel.weight[(o * C + c) * 9 + t]! += fea * E[n * C + c]!;
            }
          }
        }
      }
    }
    return kernel;
  };
  const training = checkpointFile("train.pth", { tensors, modules: new Map() });
  return {
    training,
    deploy: (fault: Parameters<typeof fuse>[0]) =>
      deployFile(fuse(fault), [C, C, 3, 3], "b.rep_conv"),
  };
}

test("RT4KSR: the identity around the inner convolution, and one convolution's bias", async () => {
  const { training, deploy } = await rt4ksr();
  expect(await said(training, deploy({}))).toEqual([]);
  expect(await said(training, deploy({ inner: 0 }))).toEqual([
    "identity-missing proved: the path around fea_conv, inside expand_conv",
  ]);
  expect(await said(training, deploy({ inner: 2 }))).toEqual([
    "branch-doubled proved: the path around fea_conv, inside expand_conv",
  ]);
  expect(await said(training, deploy({ outer: 0 }))).toEqual(["identity-missing proved: identity"]);
  expect(await said(training, deploy({ feaBias: 0 }))).toEqual([
    "conv-bias-dropped proved: fea_conv, inside expand_conv",
  ]);
  // An inner identity at three quarters is none of these: it is not called one.
  expect((await said(training, deploy({ inner: 0.75 }))).join()).not.toContain("proved");
});

/** FastViT's RepMixer: x + s·(Σ mixer's branches − BN(x)), depthwise. */
async function repMixer() {
  const C = 6;
  const tensors = new Map<string, LazyTensor>();
  const norm = (path: string): void => {
    tensors.set(
      `${path}.weight`,
      randomTensor([C], () => 0.5 + rng.next()),
    );
    tensors.set(
      `${path}.bias`,
      randomTensor([C], () => 0.3 * rng.normal()),
    );
    tensors.set(
      `${path}.running_mean`,
      randomTensor([C], () => 0.3 * rng.normal()),
    );
    tensors.set(
      `${path}.running_var`,
      randomTensor([C], () => 0.5 + rng.next()),
    );
  };
  for (const [name, k] of [
    ["rbr_conv.0", 3],
    ["rbr_scale", 1],
  ] as const) {
    tensors.set(
      `m.mixer.${name}.conv.weight`,
      randomTensor([C, 1, k, k], () => rng.normal()),
    );
    norm(`m.mixer.${name}.bn`);
  }
  norm("m.mixer.rbr_skip");
  norm("m.norm.rbr_skip");
  tensors.set(
    "m.layer_scale",
    randomTensor([C, 1, 1], () => 0.5 + rng.next()),
  );
  const state = { tensors, modules: new Map() };
  const block = await readPlainBlock(
    state,
    { prefix: "m", inC: C, outC: C, group: C, kernel: 3 },
    [
      { name: "conv", conv: "m.mixer.rbr_conv.0.conv", bn: "m.mixer.rbr_conv.0.bn" },
      { name: "scale", conv: "m.mixer.rbr_scale.conv", bn: "m.mixer.rbr_scale.bn" },
      { name: "skip", conv: undefined, bn: "m.mixer.rbr_skip" },
      { name: "norm", conv: undefined, bn: "m.norm.rbr_skip" },
    ],
    "reparam_conv",
  );
  const layerScale = await readFloat64(tensors.get("m.layer_scale")!);
  const fuse = (
    factors: readonly number[] = [1, 1, 1, -1],
    change = (b: PlainBlock) => b,
  ): PlainKernel => {
    const total = { weight: new Float64Array(C * 9), bias: new Float64Array(C) };
    const changed = change(block);
    for (const [j, branch] of changed.branches.entries()) {
      const { weight, bias } = branchKernel(changed, branch);
      for (const [i, w] of weight.entries())
        total.weight[i]! += factors[j]! * layerScale[Math.floor(i / 9)]! * w;
      for (const [o, b] of bias.entries()) total.bias[o]! += factors[j]! * layerScale[o]! * b;
    }
    for (let o = 0; o < C; o++) total.weight[o * 9 + 4]! += 1;
    return total;
  };
  return {
    training: { ...checkpointFile("train.pth", state), reading: { family: "fastvit" } },
    deploy: (...how: Parameters<typeof fuse>) =>
      deployFile(fuse(...how), [C, 1, 3, 3], "m.reparam_conv"),
  };
}

test("RepMixer: a branch of the inner sum is missing, or has lost its mean", async () => {
  const { training, deploy } = await repMixer();
  expect(await said(training, deploy())).toEqual([]);
  expect(await said(training, deploy([1, 0, 1, -1]))).toEqual([
    expect.stringMatching(/^pointwise-missing proved: .*rbr_scale.*, inside /),
  ]);
  expect(await said(training, deploy([1, 1, 1, 0]))).toEqual([
    expect.stringMatching(/^identity-missing proved: .*norm.rbr_skip.*, inside /),
  ]);
  const withoutMean = (at: number) => (b: PlainBlock) => ({
    ...b,
    branches: b.branches.map((branch, j) =>
      j === at ? { ...branch, bn: { ...branch.bn, mean: branch.bn.mean.map(() => 0) } } : branch,
    ),
  });
  expect(await said(training, deploy(undefined, withoutMean(0)))).toEqual([
    expect.stringMatching(/^running-mean-ignored proved: .*rbr_conv.0.*, inside /),
  ]);
});

const net = await repVggNet("grouped", 61);

/** Findings when branch `name` of one block has its channels in another order. */
async function permuted(
  at: string,
  name: string,
  axis: "in" | "out",
  order: (count: number) => readonly number[],
  noise = 0,
): Promise<string[]> {
  const state = deployState(net, (block) => {
    const total = plainFuse(block);
    if (block.prefix !== at) return total;
    const branch = block.branches.find((each) => each.name === name)!;
    const { weight, bias } = branchKernel(block, branch);
    const taps = block.kernel ** 2;
    const width = block.inC / block.group;
    const to = order(axis === "in" ? width : block.outC);
    for (let i = 0; i < weight.length; i++) {
      const [o, c, t] = [Math.floor(i / (width * taps)), Math.floor(i / taps) % width, i % taps];
      const from =
        axis === "in" ? (o * width + to[c]!) * taps + t : (to[o]! * width + c) * taps + t;
      total.weight[i]! += weight[from]! * (1 + noise * rng.normal()) - weight[i]!;
    }
    if (axis === "out") {
      for (let o = 0; o < block.outC; o++) total.bias[o]! += bias[to[o]!]! - bias[o]!;
    }
    return total;
  });
  return said(checkpointFile("train.pth", net.state), checkpointFile("deploy.pth", state));
}

const reversed = (count: number) => Array.from({ length: count }, (_, i) => count - 1 - i);
const round = (count: number) => Array.from({ length: count }, (_, i) => (i + 1) % count);

test.each([
  ["stage1.0", "rbr_1x1", "in", reversed, "input channels in reverse order"],
  ["stage1.1", "rbr_dense", "in", round, "input channels in reverse order"],
  ["stage2.0", "rbr_1x1", "out", reversed, "filters in reverse order"],
  ["stage3.1", "rbr_dense", "out", round, "filters moved round by 1"],
] as const)(
  "%s: the channels of %s alone are in another order (%s)",
  async (at, name, axis, order, words) => {
    const cause = `${axis}put-channels-permuted`;
    expect(await permuted(at, name, axis, order)).toEqual([`${cause} proved: ${name}: ${words}`]);
    // With a thousandth of noise on it, it is no longer proved to be that.
    expect((await permuted(at, name, axis, order, 1e-3)).join()).not.toContain("permuted");
  },
);
