/** @file A checkpoint as one side of a comparison: its blocks fused, everything else as it is stored. */

import type { FusedBlock } from "../convert/fuse-block.ts";
import type { CheckpointFile } from "../convert/open.ts";
import { planCheckpoint } from "../convert/plan-checkpoint.ts";
import { isFloatDType } from "../core/dtype.ts";
import { isReparamError } from "../core/errors.ts";
import type { LazyTensor } from "../core/tensor.ts";
import { fusedNumbers } from "./fused-numbers.ts";
import { type Kernel, storedKernel } from "./kernel.ts";
import { plainFolds } from "./plain-folds.ts";
import type { Side } from "./side.ts";

export async function checkpointSide(file: CheckpointFile): Promise<Side> {
  const short = (name: string): string =>
    name.startsWith(file.prefix) ? name.slice(file.prefix.length) : name;
  const plan = await planCheckpoint(file).catch((error: unknown) => {
    if (isReparamError(error, "refused")) return undefined;
    throw error;
  });
  const passed = plan?.passed ?? [...file.state.tensors.keys()];
  const tensors = new Map(passed.map((name) => [short(name), file.state.tensors.get(name)!]));
  const blocks = plan?.blocks ?? [];
  const fused = blocks.map((block) => blockKernel(file.name, block, short));
  return {
    file,
    form: plan?.form ?? "deploy",
    fused,
    parts: new Map(),
    tensors,
    stored: storedKernels(tensors),
    folds: plainFolds(file.name, tensors, fused, {
      recorded: (path) => file.state.modules.get(`${file.prefix}${path}`)?.attributes["eps"],
      // A net has one epsilon throughout, as far as anybody has seen.
      otherwise: file.reading.epsilon ?? blocks[0]?.block.epsilon.value,
    }),
    notes: plan?.notes ?? [],
  };
}

function blockKernel(file: string, block: FusedBlock, short: (name: string) => string): Kernel {
  const { affine, emission, weight } = block.kernel;
  return {
    name: short(block.match.prefix) || block.match.prefix,
    weightName: short(block.weightName),
    biasName: short(block.biasName),
    shape: weight.shape,
    dtype: block.dtype,
    roundings: affine.roundings,
    geometry: undefined,
    stored: undefined,
    block,
    mayBeFolded: false,
    region: undefined,
    ...fusedNumbers(file, affine, emission),
  };
}

/** Weights of rank ≥ 2 named `X.weight` with an `X.bias` of matching length, or without one. */
function storedKernels(tensors: ReadonlyMap<string, LazyTensor>): Kernel[] {
  const kernels: Kernel[] = [];
  for (const [name, weight] of tensors) {
    if (weight.shape.length < 2 || !isFloatDType(weight.dtype)) continue;
    const biasName = name.replace(/weight$/, "bias");
    const bias = biasName === name ? undefined : tensors.get(biasName);
    const fits = bias?.shape.length === 1 && bias.shape[0] === weight.shape[0];
    kernels.push(storedKernel(name, weight, fits ? biasName : undefined, fits ? bias : undefined));
  }
  return kernels;
}
