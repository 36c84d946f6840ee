/**
 * @file The numbers of a weight-preserving block. Every branch but one takes a share of the target's weights (`shares.ts`)
 * and is stored; then the dense branch takes what is left, with the scales s_j that the *stored* batch norms have:
 *
 *     K_dense = (W* − Σ_j s_j·embed(K_j)) / s_dense          β_dense = b* − Σ_j shift_j + μ_dense·s_dense
 *
 * Exact in real arithmetic. What rounds is K_dense and β_dense, once each, on storage: the fused kernel is off by at
 * most u·|s_dense·K_dense|, which is one of the magnitudes that the verdict's bound A adds up, so ω ≤ 1.
 *
 * The statistics of a batch norm do not enter the function: for any μ, σ² it gets γ = a·√(σ² + ε) and β = μ·s, so that
 * its scale is a (as near as γ can be stored) and its shift 0. Where they do not come from data they are chosen so that
 * σ² + ε is a power of 4 and the scale is a exactly.
 */

import { add, subtract } from "../../algebra/add.ts";
import { type Affine, isRefused } from "../../algebra/affine.ts";
import { emission } from "../../algebra/emit.ts";
import type { Parameter } from "../../algebra/parameter.ts";
import { type BatchNorm, scale } from "../../algebra/scale-shift.ts";
import { decodeFloat64, encodeFloat64, type FloatDType } from "../../core/dtype.ts";
import { badData, internalError } from "../../core/errors.ts";
import { type LazyTensor, lazyTensor } from "../../core/tensor.ts";
import { fusedKernel } from "../fused-tensors.ts";
import type { Block } from "./blocks.ts";
import type { BatchNormStep, Branch, ConvStep } from "./branch.ts";
import { branchAffine } from "./branch-affine.ts";
import {
  diagonalShares,
  floorShares,
  type ShareOptions,
  shareTensor,
  windowEnergy,
} from "./shares.ts";
import {
  type BatchNormVectors,
  kernelAffine,
  smallestScale,
  type Target,
  type TargetVectors,
  targetVectors,
} from "./target.ts";

/** Mean and (biased) variance of a value per channel, `[channels]` each. */
export interface ChannelStatistics {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
}

export interface BlockNumbers {
  readonly seed: number;
  /** Largest part of each weight that a branch takes from the dense one. */
  readonly share: number;
  /** Of new batch norms. */
  readonly epsilon: number;
  /** Also the dense branch's batch norm gets this epsilon (a checkpoint has one for all). Default: it keeps its own. */
  readonly oneEpsilon?: boolean | undefined;
  /** By batch norm key, of the value it normalises. Missing ones are mean 0, variance 1. */
  readonly statistics?: ReadonlyMap<string, ChannelStatistics> | undefined;
}

/** The block's tensors by key, e.g. `rbr_dense.conv.weight`; lazy, and every batch norm's epsilon. */
export interface BlockTensors {
  readonly tensors: ReadonlyMap<string, LazyTensor>;
  /** By batch norm key. */
  readonly epsilons: ReadonlyMap<string, number>;
}

export function preservingTensors(
  target: Target,
  block: Block,
  numbers: BlockNumbers,
): BlockTensors {
  const vectors = memo(() => targetVectors(target));
  // All shares together leave the dense branch at least as much as any other.
  const share = Math.min(numbers.share, 1 / block.branches.length);
  const shares = { target, vectors, seed: numbers.seed, share };
  const maker = { target, block, numbers, vectors, shares };
  const tensors = new Map<string, LazyTensor>();
  const epsilons = new Map<string, number>();
  const sides: Affine[] = [];
  for (const branch of block.branches) {
    if (branch === block.dense) continue;
    sides.push(addSide(maker, branch, tensors, epsilons));
  }
  addDense(maker, sides, tensors, epsilons);
  return { tensors, epsilons };
}

interface Maker {
  readonly target: Target;
  readonly block: Block;
  readonly numbers: BlockNumbers;
  readonly vectors: () => Promise<TargetVectors>;
  readonly shares: ShareOptions;
}

/** The stored numbers of a branch beside the dense one; returns what they compute. */
function addSide(
  { target, numbers, shares }: Maker,
  branch: Branch,
  tensors: Map<string, LazyTensor>,
  epsilons: Map<string, number>,
): Affine {
  const { dtype, geometry, name } = target;
  const affine = branchAffine(geometry, branch, {
    weight: (step) => {
      const tensor = fixedTensor(step, dtype) ?? shareTensor(step, branch.window, shares);
      tensors.set(`${step.key}.weight`, tensor);
      return tensorParameter(`${name}.${step.key}.weight`, tensor);
    },
    batchNorm: (step) => {
      const stored = memo(async () => {
        const wish = await scaleOf(step, branch, shares);
        const guess = await guessVariance(step, branch, shares);
        return sideBatchNorm(step, wish, guess, numbers, dtype);
      });
      epsilons.set(step.key, numbers.epsilon);
      return storeBatchNorm(step, stored, numbers.epsilon, dtype, tensors);
    },
  });
  if (isRefused(affine)) throw internalError(`${name}: ${branch.kind} branch`, affine.refused);
  return affine;
}

async function scaleOf(
  step: BatchNormStep,
  branch: Branch,
  shares: ShareOptions,
): Promise<Float64Array> {
  if (step.scale === "diagonal") return diagonalShares(step.key, branch.window, shares);
  if (step.scale === "floor") return floorShares(step.key, shares);
  return new Float64Array(step.channels).fill(1);
}

/** Powers of 4 between which σ² + ε is guessed: below, ε would be most of it; above, σ² could not be stored exactly. */
const [LEAST_POWER, MOST_POWER] = [-8, 3];

/**
 * What σ² + ε of a branch's outputs would be if inputs were independent: the original output's variance γ² (1 without a
 * batch norm), by the part of the filter's squares that the branch has; a power of 4. It matters for the first steps of
 * training only.
 */
async function guessVariance(
  step: BatchNormStep,
  branch: Branch,
  shares: ShareOptions,
): Promise<Float64Array> {
  const isShare = step === branch.steps.at(-1) && step.scale === "one" && branch.kind !== "average";
  if (!isShare) return new Float64Array(step.channels).fill(1);
  const energy = await windowEnergy(branch.window, shares);
  const { batchNorm } = await shares.vectors();
  return energy.map((part, o) => {
    const whole = batchNorm ? batchNorm.gamma[o]! ** 2 : 1;
    // The mean of n² over 0 ≤ n < 1 is 1/3.
    const guess = (whole * part * shares.share ** 2) / 3;
    if (!(guess > 0)) return 1;
    const power = Math.round(Math.log2(guess) / 2);
    return 4 ** Math.min(MOST_POWER, Math.max(LEAST_POWER, power));
  });
}

/** γ, β for the wished scale and shift 0, with the given statistics; all as stored. */
function sideBatchNorm(
  step: BatchNormStep,
  wish: Float64Array,
  guess: Float64Array,
  { statistics, epsilon }: BlockNumbers,
  dtype: FloatDType,
): BatchNormVectors {
  const { mean, variance } = storedStatistics(step, statistics, dtype, {
    guess,
    epsilon,
  });
  const gamma = rounded(
    wish.map((a, o) => a * Math.sqrt(variance[o]! + epsilon)),
    dtype,
  );
  const beta = rounded(
    gamma.map((g, o) => (mean[o]! * g) / Math.sqrt(variance[o]! + epsilon)),
    dtype,
  );
  return { gamma, beta, mean, variance, epsilon };
}

function storedStatistics(
  { key, channels }: BatchNormStep,
  statistics: BlockNumbers["statistics"],
  dtype: FloatDType,
  { guess, epsilon }: { readonly guess: Float64Array; readonly epsilon: number },
): ChannelStatistics {
  const found = statistics?.get(key);
  if (!found) {
    const variance = guess.map((sum) => sum - epsilon);
    return { mean: new Float64Array(channels), variance: rounded(variance, dtype) };
  }
  const fits = found.mean.length === channels && found.variance.length === channels;
  const sound = found.mean.every(Number.isFinite) && found.variance.every((v) => v >= 0);
  if (fits && sound && found.variance.every(Number.isFinite)) {
    return { mean: rounded(found.mean, dtype), variance: rounded(found.variance, dtype) };
  }
  throw badData(
    `${key}: statistics`,
    `expected ${channels} finite means and variances of at least 0, found ${found.mean.length} and ${found.variance.length} numbers, not all of that kind`,
    "The calibration data makes the network overflow: give inputs as it was trained on",
  );
}

function addDense(
  maker: Maker,
  sides: readonly Affine[],
  tensors: Map<string, LazyTensor>,
  epsilons: Map<string, number>,
): void {
  const { target, block, numbers, vectors } = maker;
  const { dtype, geometry, name } = target;
  const [conv, bn] = block.dense.steps as readonly [ConvStep, BatchNormStep];
  const kept = numbers.oneEpsilon ? undefined : target.batchNorm?.epsilon;
  const epsilon = kept ?? numbers.epsilon;
  const total = sumOf(name, sides);
  const stored = memo(() => denseBatchNorm(maker, bn, total, epsilon));
  const factors = (make: (s: number, stored: number) => number): Parameter => ({
    name,
    length: geometry.outC,
    roundings: 0,
    read: async (begin, end) => {
      const { scale: s } = await vectors();
      const { gamma, variance } = await stored();
      return Float64Array.from({ length: end - begin }, (_, i) => {
        const o = begin + i;
        return make(s[o]!, gamma[o]! / Math.sqrt(variance[o]! + epsilon));
      });
    },
  });
  // Where the original scale is 0, W* and all branches are 0, and the filter is kept as it was.
  const whole = scale(
    kernelAffine(target),
    factors((s) => (s === 0 ? 1 : s)),
  );
  const rest = total ? subtract(whole, total) : whole;
  if (isRefused(rest)) throw internalError(name, rest.refused);
  const kernel = scale(
    rest,
    factors((_, d) => (d === 0 ? 1 : 1 / d)),
  );
  const emitted = { ...emission(kernel), group: geometry.group };
  tensors.set(`${conv.key}.weight`, fusedKernel(kernel, emitted, dtype).weight);
  epsilons.set(bn.key, epsilon);
  storeBatchNorm(bn, stored, epsilon, dtype, tensors);
}

function sumOf(name: string, sides: readonly Affine[]): Affine | undefined {
  const [first, ...others] = sides;
  let total = first;
  for (const side of others) {
    const sum = add(total!, side);
    if (isRefused(sum)) throw internalError(name, sum.refused);
    total = sum;
  }
  return total;
}

/** The original batch norm where its scale can be divided by; else, and for new statistics, one of the same scale. */
async function denseBatchNorm(
  { target, numbers, vectors }: Maker,
  step: BatchNormStep,
  sides: Affine | undefined,
  epsilon: number,
): Promise<BatchNormVectors> {
  const { dtype } = target;
  const { scale: s, bias, convBias, batchNorm: original } = await vectors();
  const calibrated = numbers.statistics?.has(step.key);
  const guess = new Float64Array(step.channels).fill(1);
  const fresh = storedStatistics(step, numbers.statistics, dtype, { guess, epsilon });
  const mean = original && !calibrated ? original.mean.map((m, o) => m - convBias[o]!) : fresh.mean;
  const variance = original && !calibrated ? original.variance : fresh.variance;
  const stored = { mean: rounded(mean, dtype), variance: rounded(variance, dtype) };
  const root = stored.variance.map((v) => Math.sqrt(v + epsilon));
  const gamma = rounded(
    original && !calibrated ? original.gamma : s.map((value, o) => value * root[o]!),
    dtype,
  );
  const least = smallestScale(dtype);
  for (let o = 0; o < gamma.length; o++) {
    // γ = 0 stays: then W* is 0. A γ without digits would not; the block gets scale 1 there.
    if (s[o] !== 0 && Math.abs(gamma[o]! / root[o]!) < least) gamma[o] = round(root[o]!, dtype);
  }
  const shifts = sides ? (await sides.biases()).values : new Float64Array(gamma.length);
  const beta = rounded(
    bias.map((b, o) => b - shifts[o]! + (stored.mean[o]! * gamma[o]!) / root[o]!),
    dtype,
  );
  return { gamma, beta, ...stored, epsilon };
}

/** Adds the four stored vectors of a batch norm; returns them as the algebra reads them. */
function storeBatchNorm(
  { key, channels }: BatchNormStep,
  vectors: () => Promise<BatchNormVectors>,
  epsilon: number,
  dtype: FloatDType,
  tensors: Map<string, LazyTensor>,
): BatchNorm {
  const store = (name: string, pick: (vectors: BatchNormVectors) => Float64Array): Parameter => {
    const tensor: LazyTensor = {
      dtype,
      shape: [channels],
      read: async (start = 0, end = channels) =>
        encodeFloat64(pick(await vectors()).subarray(start, end), dtype),
    };
    tensors.set(`${key}.${name}`, tensor);
    return tensorParameter(`${key}.${name}`, tensor);
  };
  return {
    gamma: store("weight", (v) => v.gamma),
    beta: store("bias", (v) => v.beta),
    mean: store("running_mean", (v) => v.mean),
    variance: store("running_var", (v) => v.variance),
    epsilon,
  };
}

/** A weight that is the same for every target; undefined for a share of it. */
export function fixedTensor(step: ConvStep, dtype: FloatDType): LazyTensor | undefined {
  const { outC, inC, group, axes, start } = step;
  if (start !== "identity" && start !== "signs") return undefined;
  const perGroup = inC / group;
  const values = new Float64Array(outC * perGroup);
  for (let o = 0; o < outC; o++) {
    if (start === "identity") values[o * perGroup + (o % perGroup)] = 1;
    else values[o * perGroup] = o % 2 === 0 ? 1 : -1;
  }
  const shape = [outC, perGroup, ...axes.map((axis) => axis.kernel)];
  return lazyTensor({ dtype, shape, bytes: encodeFloat64(values, dtype) });
}

/** A stored tensor as the algebra reads it. */
export function tensorParameter(name: string, tensor: LazyTensor): Parameter {
  return {
    name,
    length: tensor.shape.reduce((product, n) => product * n, 1),
    roundings: 0,
    read: async (begin, end) => decodeFloat64(await tensor.read(begin, end), tensor.dtype),
  };
}

/** `values` as they are after being stored. */
function rounded(values: Float64Array, dtype: FloatDType): Float64Array {
  return decodeFloat64(encodeFloat64(values, dtype), dtype);
}

function round(value: number, dtype: FloatDType): number {
  return rounded(Float64Array.of(value), dtype)[0]!;
}

function memo<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
