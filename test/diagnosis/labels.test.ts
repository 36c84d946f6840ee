/**
 * @file Where a label begins and where it ends: every bound between two words is met from both sides. The bounds follow
 * from the roundings that the fuse makes; none of these nets was used to choose one.
 */

import { expect, test } from "vitest";
import { createRng } from "../../src/core/rng.ts";
import { diagnose } from "../../src/diagnose/diagnose.ts";
import {
  checkpointFile,
  type DiagnosisNet,
  deployState,
  mobileOneNet,
  repVggNet,
} from "../support/diagnosis-nets.ts";
import {
  copyBlock,
  type PlainBlock,
  type PlainKernel,
  plainFuse,
  rowSize,
} from "../support/plain-fuse.ts";

const net = await repVggNet("grouped", 31);
const rng = createRng(77);

/** What is said about one block when its kernel is made this way; "cause confidence: detail". */
async function said(
  at: string,
  make: (block: PlainBlock) => PlainKernel,
  on: DiagnosisNet = net,
): Promise<string[]> {
  const state = deployState(on, (block) => (block.prefix === at ? make(block) : plainFuse(block)));
  const { findings } = await diagnose(
    checkpointFile("train.pth", on.state),
    checkpointFile("deploy.pth", state),
    { numerics: false },
  );
  expect(findings.flatMap(({ blocks }) => blocks).every((name) => name === at)).toBe(true);
  return findings.map(({ cause, confidence, detail }) => `${cause} ${confidence}: ${detail}`);
}

function withFilter(
  block: PlainBlock,
  o: number,
  change: (value: number, i: number) => number,
  bias: (value: number) => number,
): PlainKernel {
  const kernel = plainFuse(block);
  const size = rowSize(block);
  for (let i = 0; i < size; i++) {
    const at = o * size + i;
    kernel.weight[at] = change(kernel.weight[at]!, i);
  }
  kernel.bias[o] = bias(kernel.bias[o]!);
  return kernel;
}

test("a filter times a number is proved, pruned ones too; a filter that is another is only located", async () => {
  const scaled = (factor: number) => (value: number) => factor * value;
  expect(await said("stage1.1", (b) => withFilter(b, 2, scaled(0.25), scaled(0.25)))).toEqual([
    "altered-channel proved: filter 2 is the exact one times 0.2500000, and so is its bias",
  ]);
  expect(await said("stage1.1", (b) => withFilter(b, 2, scaled(0), scaled(1)))).toEqual([
    "altered-channel proved: filter 2 is the exact one times 0.000000",
  ]);
  const [biased] = await said("stage1.1", (b) => withFilter(b, 2, scaled(0.25), (v) => v + 1));
  expect(biased).toBe(
    "altered-channel consistent: filter 2 is the exact one times 0.2500000, and the bias differs",
  );
  const [other] = await said("stage1.1", (b) => withFilter(b, 2, () => rng.normal(), scaled(1)));
  expect(other).toMatch(/^altered-channel consistent: filter 2: \d+ of \d+ weights differ$/);
  // A factor with one number beside it in a thousand is no factor: 0.1 % is 2¹⁴ roundings.
  const [nearly] = await said("stage1.1", (b) =>
    withFilter(b, 2, (v, i) => 0.25 * v * (i % 9 === 0 ? 1.001 : 1), scaled(0.25)),
  );
  expect(nearly).toMatch(/^altered-channel consistent: filter 2: \d+ of/);
});

function drifted(block: PlainBlock, factor: (o: number) => number): PlainBlock {
  const copy = copyBlock(block);
  for (const { bn } of copy.branches) {
    bn.variance = bn.variance.map((v, o) => v * factor(o));
    bn.mean = bn.mean.map((m) => 1.03 * m);
  }
  return copy;
}

test("drifted statistics: by a little and by a thousandfold, but not where a factor has turned its sign", async () => {
  for (const size of [1 + 2 ** -12, 1000]) {
    const [first] = await said("stage2.0", (b) =>
      plainFuse(drifted(b, (o) => 1 + (size - 1) * (0.5 + (o % 4) / 4))),
    );
    expect(first).toMatch(/^statistics-drifted proved/);
  }
  const turned = await said("stage2.0", (b) => {
    const copy = drifted(b, (o) => 1 + 0.1 * (o % 4));
    copy.branches[0]!.bn.gamma = copy.branches[0]!.bn.gamma.map((g, o) => (o % 2 ? -g : g));
    return plainFuse(copy);
  });
  expect(turned.join()).not.toContain("statistics-drifted");
});

test("drifted statistics of a depthwise block with nine numbers for six branches", async () => {
  const mobile = await mobileOneNet(31);
  const [first] = await said(
    "stage1.0",
    (b) => plainFuse(drifted(b, (o) => 1.5 + (o % 3))),
    mobile,
  );
  expect(first).toMatch(/^statistics-drifted proved/);
  const noise = await said(
    "stage1.0",
    (b) => {
      const kernel = plainFuse(b);
      kernel.weight = kernel.weight.map((w) => w * (1 + 1e-5 * rng.normal()));
      return kernel;
    },
    mobile,
  );
  expect(noise.join()).not.toContain("statistics-drifted");
});

test("noise is no fault of the fuse: unknown up to what half precision makes, another training beyond", async () => {
  const noisy = (size: number) => (block: PlainBlock) => {
    const kernel = plainFuse(block);
    kernel.weight = kernel.weight.map((w) => w * (1 + size * rng.normal()));
    return kernel;
  };
  // 100 · 2⁻²⁴ is far above k; 2⁻¹² is half a rounding of half precision, 2⁻⁶ are 32 of them, far above √(k/3).
  for (const [size, words] of [
    [100 * 2 ** -24, /^unknown consistent: .*; a fuse computed in TF32 or half precision/],
    [2 ** -12, /^unknown consistent: .*; a fuse computed in TF32 or half precision/],
    [2 ** -6, /^other-training-state consistent: /],
  ] as const) {
    expect(await said("stage2.0", noisy(size))).toEqual([expect.stringMatching(words)]);
  }
});

test("weights with nothing in common, and with much: an initialisation needs zero biases", async () => {
  const fresh = (block: PlainBlock, bias: number): PlainKernel => ({
    weight: plainFuse(block).weight.map(() => 0.1 * rng.normal()),
    bias: new Float64Array(block.outC).fill(bias),
  });
  expect((await said("stage2.0", (b) => fresh(b, 0)))[0]).toMatch(/^untouched-initialisation cons/);
  expect((await said("stage2.0", (b) => fresh(b, 0.1)))[0]).toMatch(/^unrelated-weights consist/);
  // Zero biases beside weights of the same training: no initialisation.
  const [related] = await said("stage2.0", (b) => ({
    weight: plainFuse(b).weight.map((w) => w * (1 + 0.05 * rng.normal())),
    bias: new Float64Array(b.outC),
  }));
  expect(related).not.toMatch(/^untouched-initialisation/);
});

test("a permutation with dropped biases is two proved faults; with other biases it is not proved", async () => {
  const reversed = (block: PlainBlock, bias: (b: number) => number): PlainKernel => {
    const kernel = plainFuse(block);
    const [size, taps] = [rowSize(block), block.kernel ** 2];
    const width = size / taps;
    return {
      weight: kernel.weight.map((_, i) => {
        const inside = i % size;
        const c = width - 1 - Math.floor(inside / taps);
        return kernel.weight[i - inside + c * taps + (inside % taps)]!;
      }),
      bias: kernel.bias.map(bias),
    };
  };
  const heads = (list: string[]): string[] => list.map((text) => text.split(":")[0]!).sort();
  expect(heads(await said("stage2.0", (b) => reversed(b, (v) => v)))).toEqual([
    "input-channels-permuted proved",
  ]);
  expect(heads(await said("stage2.0", (b) => reversed(b, () => 0)))).toEqual([
    "bias-dropped proved",
    "input-channels-permuted proved",
  ]);
  expect(heads(await said("stage2.0", (b) => reversed(b, (v) => v + 0.1 * rng.normal())))).toEqual([
    "input-channels-permuted consistent",
  ]);
});
