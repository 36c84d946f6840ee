/**
 * @file The convolution that a block stands for, with the batch norm that follows it: in real arithmetic
 *
 *     W* = s·W,   b* = s·(b − μ) + β        s = γ/√(σ² + ε),  or s = 1 and b* = b without a batch norm.
 */

import { type Affine, inputAffine, isRefused } from "../../algebra/affine.ts";
import { convolve } from "../../algebra/convolve.ts";
import type { Parameter } from "../../algebra/parameter.ts";
import { type BatchNorm, batchNorm } from "../../algebra/scale-shift.ts";
import { type FloatDType, SMALLEST_SUBNORMAL } from "../../core/dtype.ts";
import { badData, internalError } from "../../core/errors.ts";
import type { ConvGeometry } from "./branch.ts";

export interface Target {
  /** What the block is called; its tensors are `<name>.<key>`. */
  readonly name: string;
  readonly geometry: ConvGeometry;
  /** `[outC, inC/group, ...kernel]` */
  readonly weight: Parameter;
  /** `[outC]` */
  readonly bias: Parameter | undefined;
  readonly batchNorm: BatchNorm | undefined;
  /** Of the original weight, and of the block's tensors. */
  readonly dtype: FloatDType;
}

/** The convolution alone, without bias and batch norm. */
export function kernelAffine({ name, geometry, weight }: Target): Affine {
  const { axes, inC } = geometry;
  const v = convolve(inputAffine(inC, axes.length), { ...geometry, weight, bias: undefined });
  if (isRefused(v)) throw internalError(name, v.refused);
  return v;
}

/** The whole function that the block has to keep. */
export function targetAffine(target: Target): Affine {
  const { name, geometry, weight, bias } = target;
  const { axes, inC } = geometry;
  const v = convolve(inputAffine(inC, axes.length), { ...geometry, weight, bias });
  if (isRefused(v)) throw internalError(name, v.refused);
  return target.batchNorm ? batchNorm(v, target.batchNorm) : v;
}

/** What the numbers of a target come to, channel by channel. All arrays are `[outC]`. */
export interface TargetVectors {
  /** s */
  readonly scale: Float64Array;
  /** b* */
  readonly bias: Float64Array;
  /** The convolution's own bias b. */
  readonly convBias: Float64Array;
  readonly batchNorm: BatchNormVectors | undefined;
}

export interface BatchNormVectors {
  readonly gamma: Float64Array;
  readonly beta: Float64Array;
  readonly mean: Float64Array;
  readonly variance: Float64Array;
  readonly epsilon: number;
}

export async function targetVectors(target: Target): Promise<TargetVectors> {
  const { outC } = target.geometry;
  const convBias = target.bias ? await target.bias.read(0, outC) : new Float64Array(outC);
  const bn = target.batchNorm && (await readBatchNorm(target.batchNorm, outC));
  const scale = new Float64Array(outC).fill(1);
  const bias = convBias.slice();
  if (bn) {
    for (let o = 0; o < outC; o++) {
      scale[o] = bn.gamma[o]! / Math.sqrt(bn.variance[o]! + bn.epsilon);
      bias[o] = (convBias[o]! - bn.mean[o]!) * scale[o]! + bn.beta[o]!;
    }
  }
  return { scale, bias, convBias, batchNorm: bn };
}

async function readBatchNorm(bn: BatchNorm, channels: number): Promise<BatchNormVectors> {
  const [gamma, beta, mean, variance] = [
    await bn.gamma.read(0, channels),
    await bn.beta.read(0, channels),
    await bn.mean.read(0, channels),
    await bn.variance.read(0, channels),
  ];
  const at = variance.findIndex((value) => !(value + bn.epsilon > 0));
  if (at < 0) return { gamma, beta, mean, variance, epsilon: bn.epsilon };
  throw badData(
    `${bn.variance.name}[${at}]`,
    `variance ${variance[at]} plus epsilon ${bn.epsilon} is not a positive number`,
    "The file is damaged, or epsilon is wrong: give the trained one with --eps",
  );
}

/** Below this a stored γ has lost digits, or its inverse overflows: 2⁴⁰ times the smallest number of the format. */
export function smallestScale(dtype: FloatDType): number {
  return SMALLEST_SUBNORMAL[dtype] * 2 ** 40;
}
