/**
 * @file Blocks as plain arrays and a fuse of them in loops, independent of the engine: what a converter's own code does,
 * in float64, or in float32 in two orders of summation. Faults are injected into the arrays or into the result.
 */

import {
  type LazyTensor,
  lazyTensor,
  readFloat64,
  type StateDict,
  tensor,
} from "../../src/core/tensor.ts";

export interface PlainBatchNorm {
  gamma: Float64Array;
  beta: Float64Array;
  mean: Float64Array;
  variance: Float64Array;
  epsilon: number;
}

export interface PlainBranch {
  /** Module path inside the block. */
  readonly name: string;
  readonly role: "dense" | "pointwise" | "identity";
  /** `[outC, inC/group, k, k]`; undefined for the identity. */
  weight: Float64Array | undefined;
  readonly kernel: number;
  bias: Float64Array | undefined;
  bn: PlainBatchNorm;
}

export interface PlainBlock {
  readonly prefix: string;
  readonly outC: number;
  readonly inC: number;
  readonly group: number;
  readonly kernel: number;
  readonly branches: PlainBranch[];
  /** Deploy keys. */
  readonly weightKey: string;
  readonly biasKey: string;
}

export interface PlainKernel {
  /** `[outC, inC/group, kernel, kernel]` */
  weight: Float64Array;
  bias: Float64Array;
}

export type FuseOrder = "float64" | "float32" | "float32-reversed";

/** Σ of the branches' kernels and biases. Float32 orders round after every operation. */
export function plainFuse(block: PlainBlock, order: FuseOrder = "float64"): PlainKernel {
  const round = order === "float64" ? (x: number): number => x : Math.fround;
  const total = {
    weight: new Float64Array(block.outC * rowSize(block)),
    bias: new Float64Array(block.outC),
  };
  const branches = order === "float32-reversed" ? [...block.branches].reverse() : block.branches;
  for (const branch of branches) addBranch(total, branchKernel(block, branch, round), round);
  return total;
}

export function rowSize({ inC, group, kernel }: PlainBlock): number {
  return (inC / group) * kernel * kernel;
}

export function addBranch(
  total: PlainKernel,
  part: PlainKernel,
  round: (x: number) => number = (x) => x,
): void {
  for (let i = 0; i < total.weight.length; i++)
    total.weight[i] = round(total.weight[i]! + part.weight[i]!);
  for (let o = 0; o < total.bias.length; o++) total.bias[o] = round(total.bias[o]! + part.bias[o]!);
}

/** One branch folded and padded to the block's kernel size; `shift` moves it off the centre. */
export function branchKernel(
  block: PlainBlock,
  branch: PlainBranch,
  round: (x: number) => number = (x) => x,
  shift: readonly [number, number] = [0, 0],
): PlainKernel {
  const { outC, inC, group, kernel } = block;
  const width = inC / group;
  const weight = new Float64Array(outC * width * kernel * kernel);
  const bias = new Float64Array(outC);
  const { gamma, beta, mean, variance, epsilon } = branch.bn;
  for (let o = 0; o < outC; o++) {
    const deviation = round(Math.sqrt(round(variance[o]! + round(epsilon))));
    const scale = round(gamma[o]! / deviation);
    const padding = (kernel - branch.kernel) / 2;
    const place = (c: number, y: number, x: number): number =>
      ((o * width + c) * kernel + y + padding + shift[0]) * kernel + x + padding + shift[1];
    if (!branch.weight) {
      weight[place(o % width, 0, 0)] = scale;
    } else {
      for (let c = 0; c < width; c++) {
        for (let y = 0; y < branch.kernel; y++) {
          for (let x = 0; x < branch.kernel; x++) {
            const at = ((o * width + c) * branch.kernel + y) * branch.kernel + x;
            weight[place(c, y, x)] = round(branch.weight[at]! * scale);
          }
        }
      }
    }
    const centred = branch.bias ? round(branch.bias[o]! - mean[o]!) : -mean[o]!;
    bias[o] = round(beta[o]! + round(centred * scale));
  }
  return { weight, bias };
}

/** A RepVGG or MobileOne block's parameters, by the keys that exist. */
export async function readPlainBlock(
  state: StateDict,
  shape: Omit<PlainBlock, "branches" | "weightKey" | "biasKey">,
  branches: readonly { name: string; conv: string | undefined; bn: string }[],
  deploy: string,
): Promise<PlainBlock> {
  const read = (key: string): Promise<Float64Array> => readFloat64(state.tensors.get(key)!);
  const made: PlainBranch[] = [];
  for (const { name, conv, bn } of branches) {
    const weight = conv === undefined ? undefined : state.tensors.get(`${conv}.weight`)!;
    const kernel = weight?.shape[2] ?? 1;
    made.push({
      name,
      role: weight ? (kernel === shape.kernel ? "dense" : "pointwise") : "identity",
      weight: weight && (await readFloat64(weight)),
      kernel,
      bias: state.tensors.has(`${conv}.bias`) ? await read(`${conv}.bias`) : undefined,
      bn: {
        gamma: await read(`${bn}.weight`),
        beta: await read(`${bn}.bias`),
        mean: await read(`${bn}.running_mean`),
        variance: await read(`${bn}.running_var`),
        epsilon: 1e-5,
      },
    });
  }
  return {
    ...shape,
    branches: made,
    weightKey: `${shape.prefix}.${deploy}.weight`,
    biasKey: `${shape.prefix}.${deploy}.bias`,
  };
}

export function copyBlock(block: PlainBlock): PlainBlock {
  return {
    ...block,
    branches: block.branches.map((branch) => ({
      ...branch,
      weight: branch.weight?.slice(),
      bias: branch.bias?.slice(),
      bn: {
        gamma: branch.bn.gamma.slice(),
        beta: branch.bn.beta.slice(),
        mean: branch.bn.mean.slice(),
        variance: branch.bn.variance.slice(),
        epsilon: branch.bn.epsilon,
      },
    })),
  };
}

/** Rounded once to float32. */
export function float32Lazy(shape: readonly number[], values: Float64Array): LazyTensor {
  return lazyTensor(tensor("float32", shape, Float32Array.from(values)));
}
