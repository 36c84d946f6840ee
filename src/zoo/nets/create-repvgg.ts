/** @file A RepVGG's state dict with seeded weights, generated as they are read. */

import { DTYPE_BYTES } from "../../core/dtype.ts";
import {
  elementCount,
  int64Tensor,
  type LazyTensor,
  lazyTensor,
  type StateDict,
} from "../../core/tensor.ts";
import type { RepVggArch } from "./repvgg-arch.ts";
import { type KeySpec, repVggKeys } from "./repvgg-keys.ts";
import { type ElementRange, seededTensor } from "./seeded-tensor.ts";

/**
 * What the BatchNorms hold.
 *
 * - `random`: γ of both signs, non-zero β and μ, σ² away from 1: what a comparison of two forms needs.
 * - `fresh`, `gamma1`: as PyTorch constructs them, γ = 1, β = 0, μ = 0, σ² = 1.
 * - `gamma001`: γ = β = 0.01, μ = 0, σ² = 1, the other initialisation of RepVGG issue 23.
 */
export type Statistics = "random" | "fresh" | "gamma1" | "gamma001";

export interface CreateRepVggOptions {
  /** Any integer; the same seed gives the same bytes everywhere. */
  readonly seed: number;
  /** Default `random`. */
  readonly statistics?: Statistics;
}

/**
 * The state dict of `arch`, in PyTorch's key order. Convolutions are Kaiming-uniform for ReLU (bound √(6 / fanIn)),
 * SE and linear layers uniform with bound 1 / √fanIn. A deploy form is random in its own right, not the fused training form.
 */
export function createRepVgg(
  arch: RepVggArch,
  form: "training" | "deploy",
  options: CreateRepVggOptions,
): StateDict {
  const { seed, statistics = "random" } = options;
  const keys = repVggKeys(arch, form);
  const tensors = new Map<string, LazyTensor>();
  for (const [key, spec] of keys) tensors.set(key, createTensor(key, spec, keys, seed, statistics));
  return { tensors, modules: new Map() };
}

function createTensor(
  key: string,
  { shape, dtype }: KeySpec,
  keys: ReadonlyMap<string, KeySpec>,
  seed: number,
  statistics: Statistics,
): LazyTensor {
  if (dtype === "int64") return lazyTensor(int64Tensor(shape, [statistics === "random" ? 100 : 0]));
  const dot = key.lastIndexOf(".");
  const path = key.slice(0, dot);
  const name = key.slice(dot + 1);
  if (keys.has(`${path}.running_var`)) {
    const value = constantStatistic(name, statistics);
    return value === undefined
      ? seededTensor(shape, seed, key, RANDOM_STATISTICS[name]!)
      : constantTensor(shape, value);
  }
  if (path.endsWith(".rbr_reparam") && name === "bias") {
    return seededTensor(shape, seed, key, uniform(0.2));
  }
  const weight = keys.get(`${path}.weight`)?.shape ?? shape;
  const fanIn = elementCount(weight.slice(1));
  const feedsRelu = /\.(conv|rbr_reparam)$/.test(path);
  return seededTensor(shape, seed, key, uniform(Math.sqrt((feedsRelu ? 6 : 1) / fanIn)));
}

function uniform(bound: number): ElementRange {
  return { low: -bound, high: bound };
}

/**
 * γ = ±[0.4, 1.2) (a quarter negative) and σ² = [1, 3): with Kaiming weights the sum of three branches then keeps the
 * size of its input within a few percent per block (E γ² · E 1/σ² ≈ 0.38; convolutions double E x², the ReLU halves it),
 * so even 48 blocks neither overflow nor vanish.
 */
const RANDOM_STATISTICS: Readonly<Record<string, ElementRange>> = {
  weight: { low: 0.4, high: 1.2, negative: 0.25 },
  bias: uniform(0.2),
  running_mean: uniform(0.2),
  running_var: { low: 1, high: 3 },
};

function constantStatistic(name: string, statistics: Statistics): number | undefined {
  if (statistics === "random") return undefined;
  if (name === "running_mean") return 0;
  if (name === "running_var") return 1;
  if (statistics === "gamma001") return 0.01;
  return name === "weight" ? 1 : 0;
}

function constantTensor(shape: readonly number[], value: number): LazyTensor {
  return {
    dtype: "float32",
    shape,
    read: async (start = 0, end = elementCount(shape)) =>
      new Uint8Array(
        new Float32Array(end - start).fill(value).buffer,
        0,
        (end - start) * DTYPE_BYTES.float32,
      ),
  };
}
