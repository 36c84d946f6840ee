/** @file One recognised block of a checkpoint to its fused kernel. */

import type { Affine } from "../algebra/affine.ts";
import { emission, weightShape } from "../algebra/emit.ts";
import { type FloatDType, isFloatDType } from "../core/dtype.ts";
import { internalError } from "../core/errors.ts";
import type { LazyTensor, StateDict } from "../core/tensor.ts";
import { type FusedKernel, fusedKernel } from "../rewrite/fused-tensors.ts";
import { interpretRegion } from "../rewrite/interpret.ts";
import { type BlockGraph, type CompileOptions, compileBlock } from "../zoo/compile-block.ts";
import type { BlockMatch } from "../zoo/recognize.ts";

export interface FusedBlock {
  readonly match: BlockMatch;
  readonly block: BlockGraph;
  readonly kernel: FusedKernel;
  /** Full names in the deploy checkpoint. */
  readonly weightName: string;
  readonly biasName: string;
  /** Element type of the fused tensors: as asked for, else that of the block's widest float parameter. */
  readonly dtype: FloatDType;
}

/**
 * Fuses a block in training form (or mixed form: its branches count, not the stale kernel beside them).
 *
 * @throws bad-data (shapes that contradict each other), refused (not exactly one convolution, with the reason)
 */
export async function fuseBlock(
  match: BlockMatch,
  state: StateDict,
  options: Pick<CompileOptions, "epsilon" | "identity">,
  storedAs?: FloatDType,
): Promise<FusedBlock> {
  const block = compileBlock(match, state, options);
  const affine = await interpretRegion(block.graph, block.input, block.output, match.prefix);
  const dtype = storedAs ?? widestFloat(match, state);
  const kernel = shapedKernel(affine, dtype, block);
  return {
    match,
    block,
    kernel,
    weightName: match.deployKeys.weight,
    biasName: match.deployKeys.bias,
    dtype,
  };
}

/** The kernel with the block's group count and rank (a linear layer's weight has no spatial axes). */
function shapedKernel(affine: Affine, dtype: FloatDType, block: BlockGraph): FusedKernel {
  const emitted = emission(affine);
  if (emitted.group % block.group !== 0) {
    throw internalError(
      "fuse",
      `group ${emitted.group} of the kernel, ${block.group} of the block`,
    );
  }
  const kernel = fusedKernel(affine, { ...emitted, group: block.group }, dtype);
  const [outC = 0, perGroup = 0] = weightShape(kernel.emission);
  return block.weightRank === 4
    ? kernel
    : { ...kernel, weight: reshaped(kernel.weight, [outC, perGroup]) };
}

function reshaped(tensor: LazyTensor, shape: readonly number[]): LazyTensor {
  return { ...tensor, shape };
}

const WIDTH: Readonly<Record<FloatDType, number>> = {
  bfloat16: 0,
  float16: 1,
  float32: 2,
  float64: 3,
};

function widestFloat(match: BlockMatch, state: StateDict): FloatDType {
  let widest: FloatDType | undefined;
  for (const key of match.keys) {
    const dtype = state.tensors.get(key)?.dtype;
    if (dtype === undefined || !isFloatDType(dtype)) continue;
    if (widest === undefined || WIDTH[dtype] > WIDTH[widest]) widest = dtype;
  }
  return widest ?? "float32";
}
