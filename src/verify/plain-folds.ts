/**
 * @file Convolutions and blocks of a checkpoint with the batch norm that may follow them. Exporters fold such pairs on
 * their own, so the other side may hold one kernel where this one holds several tensors. That a norm follows a
 * convolution is only a guess from the order and the names of keys; certificate A then proves it or does not.
 */

import { type Affine, inputAffine, isRefused } from "../algebra/affine.ts";
import { convolve } from "../algebra/convolve.ts";
import { emission } from "../algebra/emit.ts";
import { type Parameter, parameter } from "../algebra/parameter.ts";
import { batchNorm } from "../algebra/scale-shift.ts";
import { decodeFloat64, isFloatDType } from "../core/dtype.ts";
import { elementCount, type LazyTensor } from "../core/tensor.ts";
import { fusedNumbers } from "./fused-numbers.ts";
import type { Kernel } from "./kernel.ts";
import type { PlainFold } from "./side.ts";

/** PyTorch's default. */
const DEFAULT_EPSILON = 1e-5;

export interface EpsilonSource {
  /** What a pickled module at this path says. */
  recorded(path: string): unknown;
  readonly otherwise: number | undefined;
}

/** A batch norm outside the recognised blocks. */
interface Norm {
  readonly path: string;
  readonly channels: number;
  /** γ, β, μ, σ²: names of tensors. */
  readonly names: readonly string[];
  readonly epsilon: number;
  /** Name of the last weight of rank 3 or more before it that no other norm follows. */
  readonly after: string | undefined;
}

export function plainFolds(
  file: string,
  tensors: ReadonlyMap<string, LazyTensor>,
  blocks: readonly Kernel[],
  epsilon: EpsilonSource,
): PlainFold[] {
  return findNorms(tensors, epsilon).flatMap((norm) => {
    const block = blocks.find(
      ({ name, shape }) => norm.path.startsWith(`${name}.`) && shape[0] === norm.channels,
    );
    const affine = block?.block?.kernel.affine;
    if (block && affine) return [foldOf(file, block, affine, norm, tensors, [])];
    return norm.after === undefined ? [] : [convolutionFold(file, norm.after, norm, tensors)];
  });
}

function findNorms(tensors: ReadonlyMap<string, LazyTensor>, epsilon: EpsilonSource): Norm[] {
  const norms: Norm[] = [];
  let after: string | undefined;
  for (const [name, tensor] of tensors) {
    if (tensor.shape.length >= 3 && isFloatDType(tensor.dtype)) after = name;
    if (!name.endsWith(".running_var")) continue;
    const path = name.slice(0, -".running_var".length);
    const names = ["weight", "bias", "running_mean", "running_var"].map(
      (part) => `${path}.${part}`,
    );
    const [channels = 0] = tensor.shape;
    const isNorm = names.every((key) => {
      const shape = tensors.get(key)?.shape;
      return shape?.length === 1 && shape[0] === channels;
    });
    if (!isNorm) continue;
    const own = epsilon.recorded(path);
    const value = typeof own === "number" ? own : (epsilon.otherwise ?? DEFAULT_EPSILON);
    const follows = after !== undefined && tensors.get(after)!.shape[0] === channels;
    norms.push({ path, channels, names, epsilon: value, after: follows ? after : undefined });
    after = undefined;
  }
  return norms;
}

function convolutionFold(
  file: string,
  weightName: string,
  norm: Norm,
  tensors: ReadonlyMap<string, LazyTensor>,
): PlainFold {
  const weight = tensors.get(weightName)!;
  const [outC = 0, perGroup = 0, ...kernelShape] = weight.shape;
  const biasName = weightName.replace(/weight$/, "bias");
  const bias = biasName === weightName ? undefined : tensors.get(biasName);
  // One group: the rows are the same, only the number of input channels is not known.
  const affine = convolve(inputAffine(perGroup, kernelShape.length), {
    outC,
    group: 1,
    axes: kernelShape.map((kernel) => ({
      kernel,
      stride: 1,
      dilation: 1,
      beginPad: 0,
      endPad: 0,
    })),
    weight: toParameter(weightName, weight),
    bias: bias && toParameter(biasName, bias),
  });
  if (isRefused(affine)) throw new Error(`internal: ${weightName}: ${affine.refused}`);
  const kernel = {
    name: weightName.replace(/\.weight$/, ""),
    weightName,
    biasName: bias ? biasName : undefined,
    shape: weight.shape,
    dtype: isFloatDType(weight.dtype) ? weight.dtype : ("float32" as const),
  };
  const names = bias ? [weightName, biasName] : [weightName];
  const fold = foldOf(file, kernel, affine, norm, tensors, names);
  return { ...fold, block: undefined };
}

/** The kernel whose meaning is `affine`, followed by the norm. `names` are the kernel's own tensors. */
function foldOf<K extends Pick<Kernel, "name" | "weightName" | "biasName" | "shape" | "dtype">>(
  file: string,
  from: K,
  affine: Affine,
  norm: Norm,
  tensors: ReadonlyMap<string, LazyTensor>,
  names: readonly string[],
): Omit<PlainFold, "block"> & { readonly block: K } {
  const [gamma, beta, mean, variance] = norm.names.map((key) =>
    toParameter(key, tensors.get(key)!),
  );
  const normalized = batchNorm(affine, {
    gamma: gamma!,
    beta: beta!,
    mean: mean!,
    variance: variance!,
    epsilon: norm.epsilon,
  });
  const { name, weightName, biasName, shape, dtype } = from;
  const emitted = { ...emission(normalized), group: affine.inC / (shape[1] ?? 1) };
  const kernel: Kernel = {
    name,
    weightName,
    biasName,
    shape,
    dtype,
    roundings: normalized.roundings,
    geometry: undefined,
    stored: undefined,
    block: undefined,
    mayBeFolded: false,
    region: undefined,
    ...fusedNumbers(file, normalized, emitted),
  };
  return { kernel, names: [...names, ...norm.names], block: from };
}

function toParameter(name: string, tensor: LazyTensor): Parameter {
  return {
    ...parameter(name, []),
    length: elementCount(tensor.shape),
    read: async (begin, end) => decodeFloat64(await tensor.read(begin, end), tensor.dtype),
  };
}
