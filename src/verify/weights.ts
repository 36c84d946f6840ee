/**
 * @file Certificate A: every deploy kernel lies within k roundings of the exact fused one, every other tensor is
 * bit-equal. Needs no data and no runtime, and names the block and the tensor that differ.
 */

import { throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import type { LazyTensor } from "../core/tensor.ts";
import { type BlockCertificate, certify } from "./certify.ts";
import { compareTensors, type TensorComparison } from "./other-tensors.ts";
import { pairKernels } from "./pair.ts";
import type { Kernel, PlainFold, Side } from "./side.ts";

export type { BlockCertificate, BlockStatus } from "./certify.ts";

export interface WeightCertificate {
  /** Blocks in file or graph order, then convolutions that only the deploy side had folded with their batch norm. */
  readonly blocks: readonly BlockCertificate[];
  readonly others: TensorComparison;
  /** Largest ω over all matched blocks; 0 without any. */
  readonly maxOmega: number;
  /** Largest ω/k, what the verdict looks at. */
  readonly maxOmegaOverK: number;
}

export async function weightCertificate(
  training: Side,
  deploy: Side,
  options: TaskOptions = {},
): Promise<WeightCertificate> {
  const inner = [...deploy.parts.values()].flatMap((parts) => parts.stored);
  const candidates = [...deploy.fused, ...deploy.stored, ...inner];
  const fromBlocks = await certifyAll(training.fused, candidates, options);
  const free = freeTensors(deploy, fromBlocks);
  const compared = await compareTensors(openTensors(training, fromBlocks), free, {
    ...options,
    shared: deploy.file.kind === "onnx",
  });
  const { blocks, others } = await certifyFolds(
    { training, deploy, fromBlocks, compared, free },
    options,
  );
  const measured = blocks.flatMap((block) =>
    block.deviation && block.status !== "unmatched"
      ? [{ ...block, deviation: block.deviation }]
      : [],
  );
  return {
    blocks,
    others,
    maxOmega: Math.max(
      0,
      ...measured.flatMap(({ deviation: d }) => [d.weight.omega, d.bias.omega]),
    ),
    maxOmegaOverK: Math.max(
      0,
      ...measured.flatMap(({ deviation: d, k }) => [
        d.weight.omega / Math.max(k.weight, 1),
        d.bias.omega / Math.max(k.bias, 1),
      ]),
    ),
  };
}

async function certifyAll(
  expected: readonly Kernel[],
  candidates: readonly Kernel[],
  options: TaskOptions,
): Promise<BlockCertificate[]> {
  const pairs = await pairKernels(expected, candidates);
  const blocks: BlockCertificate[] = [];
  for (const [done, pair] of pairs.entries()) {
    throwIfAborted(options.signal);
    options.onProgress?.({ label: pair.expected.name, done, total: pairs.length });
    blocks.push(await certify(pair, options));
  }
  return blocks;
}

/** Training tensors to look for one by one: those outside the blocks, and the parts of regions without a counterpart. */
function openTensors(training: Side, blocks: readonly BlockCertificate[]): Map<string, LazyTensor> {
  const tensors = new Map(training.tensors);
  for (const block of blocks) {
    const parts = training.parts.get(block.pair.expected);
    // A region that only folds a convolution with what follows may be unfolded on the other side.
    if (block.status !== "unmatched" || !parts || parts.stored.length !== 1) continue;
    for (const [name, tensor] of parts.tensors) tensors.set(name, tensor);
  }
  return tensors;
}

/** Deploy tensors that no certified block accounts for. */
function freeTensors(deploy: Side, blocks: readonly BlockCertificate[]): Map<string, LazyTensor> {
  const used = usedKernels(blocks);
  const tensors = new Map(deploy.tensors);
  for (const [kernel, parts] of deploy.parts) {
    if (used.has(kernel)) continue;
    for (const [name, tensor] of parts.tensors) tensors.set(name, tensor);
  }
  for (const kernel of used) for (const name of storedNames(kernel)) tensors.delete(name);
  return tensors;
}

function usedKernels(blocks: readonly BlockCertificate[]): Set<Kernel> {
  return new Set(
    blocks.flatMap(({ status, pair: { found } }) =>
      found && status !== "unmatched" ? [found] : [],
    ),
  );
}

function storedNames(kernel: Kernel): string[] {
  if (!kernel.stored) return [];
  return kernel.biasName === undefined ? [kernel.weightName] : [kernel.weightName, kernel.biasName];
}

interface Compared {
  readonly training: Side;
  readonly deploy: Side;
  readonly fromBlocks: readonly BlockCertificate[];
  readonly compared: TensorComparison;
  readonly free: ReadonlyMap<string, LazyTensor>;
}

/**
 * Tensors that were not found one by one may stand in the deploy file as one folded kernel, and so may a block and the
 * batch norm behind it. Accepted only where the numbers prove it: that they belong together is no more than a guess.
 */
async function certifyFolds(
  { training, deploy, fromBlocks, compared, free }: Compared,
  options: TaskOptions,
): Promise<{ blocks: readonly BlockCertificate[]; others: TensorComparison }> {
  const equal = new Set(compared.equal);
  const settled = new Set(
    fromBlocks.flatMap(({ status, pair }) => (status === "unmatched" ? [] : [pair.expected])),
  );
  const open = training.folds.filter(
    ({ names, block }) => names.every((name) => !equal.has(name)) && !(block && settled.has(block)),
  );
  if (open.length === 0) return { blocks: fromBlocks, others: compared };
  const found = new Set([...compared.surplus, ...compared.different.map((one) => one.deployName)]);
  const inner = [...deploy.parts.values()].flatMap((parts) => parts.stored);
  const candidates = [...deploy.stored, ...inner].filter(
    (kernel) => free.has(kernel.weightName) && found.has(kernel.weightName),
  );
  const kernels = open.map((fold) => fold.kernel);
  const proved = (await certifyAll(kernels, candidates, options)).filter(
    ({ status }) => status === "exact" || status === "rounding" || status === "lower",
  );
  return {
    blocks: withFolds(fromBlocks, open, proved),
    others: withoutFolds(compared, open, proved),
  };
}

/** A proved fold takes the place of the block in it; one of a plain convolution comes after the blocks. */
function withFolds(
  blocks: readonly BlockCertificate[],
  folds: readonly PlainFold[],
  proved: readonly BlockCertificate[],
): BlockCertificate[] {
  const blockOf = new Map(folds.map((fold) => [fold.kernel, fold.block]));
  const replaced = new Map(
    proved.flatMap((one) => {
      const block = blockOf.get(one.pair.expected);
      return block ? [[block, one] as const] : [];
    }),
  );
  const added = proved.filter((one) => !blockOf.get(one.pair.expected));
  return [...blocks.map((one) => replaced.get(one.pair.expected) ?? one), ...added];
}

function withoutFolds(
  { equal, different, missing, surplus }: TensorComparison,
  folds: readonly PlainFold[],
  proved: readonly BlockCertificate[],
): TensorComparison {
  const kernels = new Set(proved.map((block) => block.pair.expected));
  const explained = new Set(
    folds.filter((fold) => kernels.has(fold.kernel)).flatMap((fold) => fold.names),
  );
  const used = new Set(proved.flatMap((block) => storedNames(block.pair.found!)));
  return {
    equal,
    different: different.filter(
      ({ name, deployName }) => !explained.has(name) && !used.has(deployName),
    ),
    missing: missing.filter((name) => !explained.has(name)),
    surplus: surplus.filter((name) => !used.has(name)),
  };
}
