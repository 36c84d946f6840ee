/** @file The numbers of a block that starts anew: Kaiming's normal numbers, and batch norms of mean 0 and variance 1. */

import { encodeFloat64, type FloatDType } from "../../core/dtype.ts";
import { type LazyTensor, lazyTensor } from "../../core/tensor.ts";
import { type BlockTensors, fixedTensor } from "./block-tensors.ts";
import type { Block } from "./blocks.ts";
import type { ConvStep } from "./branch.ts";
import { seededNormal } from "./seeded-numbers.ts";

/** γ = 1, β = 0 (PyTorch's default), or γ = β = 0.01 (what ZCls and the training runs of RepVGG issue 23 used). */
export type FreshStart = "gamma1" | "gamma001";

const GAMMA_BETA: Readonly<Record<FreshStart, readonly [gamma: number, beta: number]>> = {
  gamma1: [1, 0],
  gamma001: [0.01, 0.01],
};

export function freshTensors(
  name: string,
  dtype: FloatDType,
  block: Block,
  options: { readonly fresh: FreshStart; readonly seed: number; readonly epsilon: number },
): BlockTensors {
  const tensors = new Map<string, LazyTensor>();
  const epsilons = new Map<string, number>();
  const [gamma, beta] = GAMMA_BETA[options.fresh];
  for (const step of block.branches.flatMap((branch) => branch.steps)) {
    if (step.op === "conv") {
      tensors.set(`${step.key}.weight`, kaimingTensor(step, dtype, options.seed, name));
    } else if (step.op === "bn") {
      const vector = (value: number): LazyTensor => {
        const bytes = encodeFloat64(new Float64Array(step.channels).fill(value), dtype);
        return lazyTensor({ dtype, shape: [step.channels], bytes });
      };
      tensors.set(`${step.key}.weight`, vector(gamma));
      tensors.set(`${step.key}.bias`, vector(beta));
      tensors.set(`${step.key}.running_mean`, vector(0));
      tensors.set(`${step.key}.running_var`, vector(1));
      epsilons.set(step.key, options.epsilon);
    }
  }
  return { tensors, epsilons };
}

/** Normal numbers of Kaiming's size for ReLU over outputs (PyTorch's `fan_out`, which does not look at groups). */
function kaimingTensor(step: ConvStep, dtype: FloatDType, seed: number, name: string): LazyTensor {
  if (step.start === "identity") return fixedTensor(step, dtype)!;
  const kernel = step.axes.map((axis) => axis.kernel);
  const taps = kernel.reduce((product, n) => product * n, 1);
  const shape = [step.outC, step.inC / step.group, ...kernel];
  return seededNormal(shape, dtype, seed, `${name}.${step.key}`, Math.sqrt(2 / (step.outC * taps)));
}
