/** @file One block to its kernel: names, shapes and types of what is stored, and numbers against a fuse by loops. */

import { describe, expect, test } from "vitest";
import { mobileOneNet, repVggNet } from "../../test/support/diagnosis-nets.ts";
import { plainFuse } from "../../test/support/plain-fuse.ts";
import { encodeFloat64, type FloatDType } from "../core/dtype.ts";
import {
  float32Tensor,
  type LazyTensor,
  lazyTensor,
  readFloat64,
  type StateDict,
  tensor,
} from "../core/tensor.ts";
import { recognize } from "../zoo/recognize.ts";
import { type FusedBlock, fuseBlock } from "./fuse-block.ts";

const net = await repVggNet("grouped", 5);

async function fuse(
  state: StateDict,
  prefix: string,
  options: Parameters<typeof fuseBlock>[2] = {},
): Promise<FusedBlock> {
  const match = recognize(state).matches.find((one) => one.prefix === prefix);
  return fuseBlock(match!, state, options);
}

/** The net's state with one tensor in another type. */
async function retyped(name: string, dtype: FloatDType): Promise<StateDict> {
  const old = net.state.tensors.get(name)!;
  const bytes = encodeFloat64(await readFloat64(old), dtype);
  const changed = lazyTensor({ dtype, shape: old.shape, bytes });
  return { ...net.state, tensors: new Map([...net.state.tensors, [name, changed]]) };
}

describe("fuseBlock", () => {
  test.each(["stage1.0", "stage2.1", "stage3.0"])(
    "%s is the sum of its branches",
    async (prefix) => {
      const plain = net.blocks.find((block) => block.prefix === prefix)!;
      const expected = plainFuse(plain);
      const { kernel, weightName, biasName, block } = await fuse(net.state, prefix);
      expect([weightName, biasName]).toEqual([plain.weightKey, plain.biasKey]);
      expect(block.group).toBe(plain.group);
      expect(kernel.weight.shape).toEqual([plain.outC, plain.inC / plain.group, 3, 3]);
      for (const [stored, exact] of [
        [kernel.weight, expected.weight],
        [kernel.bias, expected.bias],
      ] as const) {
        for (const [i, value] of (await readFloat64(stored)).entries()) {
          // The order of the float64 sums may differ in its last bit, which can tip a rounding: one float32 step.
          expect(Math.abs(value - exact[i]!)).toBeLessThanOrEqual(2 ** -23 * Math.abs(exact[i]!));
        }
      }
    },
  );

  test("a depthwise block keeps its groups, however small its kernel is", async () => {
    const depthwise = await mobileOneNet(3);
    const { block, kernel } = await fuse(depthwise.state, "stage1.0");
    expect(block.group).toBe(12);
    expect(kernel.emission.group).toBe(12);
    expect(kernel.weight.shape).toEqual([12, 1, 3, 3]);
  });

  test("another epsilon gives another kernel; the same one gives the same", async () => {
    const bias = async (epsilon: number | undefined): Promise<Float64Array> =>
      readFloat64((await fuse(net.state, "stage1.0", { epsilon })).kernel.bias);
    expect(await bias(1e-5)).toEqual(await bias(undefined)); // RepVGG's own
    expect(await bias(1e-3)).not.toEqual(await bias(undefined));
  });

  test.each([
    ["float64", "float64"],
    // The other branch's parameters are float32.
    ["float16", "float32"],
    ["bfloat16", "float32"],
  ] as const)("one tensor in %s makes a kernel in %s", async (one, kernelType) => {
    const fused = await fuse(await retyped("stage1.0.rbr_dense.conv.weight", one), "stage1.0");
    expect(fused.dtype).toBe(kernelType);
    expect([fused.kernel.weight.dtype, fused.kernel.bias.dtype]).toEqual([kernelType, kernelType]);
  });

  test("counters such as num_batches_tracked do not decide the type", async () => {
    const name = "stage1.0.rbr_dense.bn.num_batches_tracked";
    const count = lazyTensor(tensor("int64", [], BigInt64Array.of(7n)));
    const tensors = new Map([...net.state.tensors, [name, count as LazyTensor]]);
    expect((await fuse({ ...net.state, tensors }, "stage1.0")).dtype).toBe("float32");
  });

  test("a linear layer's weight has no spatial axes", async () => {
    const values = (...numbers: number[]): LazyTensor =>
      lazyTensor(float32Tensor([numbers.length], numbers));
    const state: StateDict = {
      tensors: new Map(
        [
          ["act.1.beta", lazyTensor(float32Tensor([1, 1, 1, 2], [10, 20]))],
          ["pwconv2.0.weight", lazyTensor(float32Tensor([1, 2], [1, 2]))],
          ["pwconv2.2.weight", values(4)],
          ["pwconv2.2.bias", values(1)],
          ["pwconv2.2.running_mean", values(30)],
          ["pwconv2.2.running_var", values(4 - 1e-5)],
          ["gamma", values(3)],
        ].map(([name, value]) => [`block.${name as string}`, value as LazyTensor] as const),
      ),
      modules: new Map(),
    };
    const { kernel } = await fuse(state, "block");
    expect(kernel.weight.shape).toEqual([1, 2]);
    // γ/σ = 4/√4 = 2, times the layer scale 3: weights 6 and 12, bias (1·10 + 2·20 − 30)·6 + 1·3 = 123.
    const [weight, bias] = [await readFloat64(kernel.weight), await readFloat64(kernel.bias)];
    expect([...weight, ...bias].map((value) => Math.round(value * 1e4) / 1e4)).toEqual([
      6, 12, 123,
    ]);
  });

  test("a stale kernel beside the branches does not count", async () => {
    const key = "stage1.0.rbr_reparam.weight";
    const plain = net.blocks.find(({ prefix }) => prefix === "stage1.0")!;
    const shape = [plain.outC, plain.inC / plain.group, 3, 3];
    const stale = (size: readonly number[]): LazyTensor =>
      lazyTensor(float32Tensor(size, new Float32Array(size.reduce((a, b) => a * b, 1)).fill(7)));
    const tensors = new Map([
      ...net.state.tensors,
      [key, stale(shape)] as const,
      ["stage1.0.rbr_reparam.bias", stale([plain.outC])] as const,
    ]);
    const mixed = await fuse({ ...net.state, tensors }, "stage1.0");
    expect(mixed.match.form).toBe("mixed");
    const clean = await fuse(net.state, "stage1.0");
    expect(await readFloat64(mixed.kernel.weight)).toEqual(await readFloat64(clean.kernel.weight));
  });

  test("a block in deploy form is not fused again", async () => {
    const { prefix, weightKey, biasKey, outC } = net.blocks[0]!;
    const state: StateDict = {
      tensors: new Map([
        [weightKey, lazyTensor(float32Tensor([outC, 3, 3, 3], new Float32Array(outC * 27)))],
        [biasKey, lazyTensor(float32Tensor([outC], new Float32Array(outC)))],
      ]),
      modules: new Map(),
    };
    const failed = fuse(state, prefix);
    await expect(failed).rejects.toMatchObject({ tag: "bad-data" });
    await expect(failed).rejects.toThrow("is in deploy form already");
  });
});
