/**
 * @file Deploy kernels that are right, but of something else: another state dict of the same file, another block, or
 * the fused kernel that the training file had cached.
 */

import type { Bounded } from "../algebra/affine.ts";
import type { CheckpointFile, ModelFile } from "../convert/open.ts";
import { isReparamError, throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { splitPrefix } from "../formats/wrappers.ts";
import { deviation, roundingUnit } from "../verify/deviation.ts";
import { compareTensors } from "../verify/other-tensors.ts";
import { type Kernel, openSide, type Side, storedKernel } from "../verify/side.ts";
import type { BlockCertificate, WeightCertificate } from "../verify/weights.ts";
import type { BlockFault } from "./finding.ts";
import { isNear, toleranceOf } from "./samples.ts";

export interface OtherSources {
  /** The block's fault, if its deploy kernel is another source's exact kernel. */
  explain(certificate: BlockCertificate, options: TaskOptions): Promise<BlockFault[] | undefined>;
  /** Tensors outside the blocks that come from another state dict, by its path. */
  readonly tensorsOf: ReadonlyMap<string, readonly string[]>;
}

interface Alternative {
  readonly path: string;
  readonly side: Side;
  readonly kernels: ReadonlyMap<string, Kernel>;
}

export async function openOtherSources(
  training: Side,
  deploy: Side,
  { others }: WeightCertificate,
  options: TaskOptions,
): Promise<OtherSources> {
  const alternatives = await otherStateDicts(training.file);
  const tensorsOf = new Map<string, readonly string[]>();
  const names = others.different.map((tensor) => tensor.name);
  for (const { path, side } of alternatives) {
    const subset = (tensors: Side["tensors"]): Side["tensors"] =>
      new Map([...tensors].filter(([name]) => names.includes(name)));
    const { equal } = await compareTensors(subset(side.tensors), subset(deploy.tensors), options);
    if (equal.length > 0) tensorsOf.set(path, equal);
  }
  const firstRow = rememberFirstRows();
  return {
    tensorsOf,
    explain: async (certificate, given) => {
      for (const { path, kernels } of alternatives) {
        throwIfAborted(given.signal);
        const kernel = kernels.get(certificate.pair.expected.weightName);
        const omega = kernel && (await within(certificate, kernel, firstRow, given));
        if (omega === undefined) continue;
        const detail = `it is the exact fuse of "${path}", not of "${keyOf(training.file)}"`;
        return [
          fault(
            certificate,
            "other-state-dict",
            detail,
            { stateDict: path, omegaAfter: omega },
            kernel,
          ),
        ];
      }
      const stale = staleKernel(certificate, training);
      const staleOmega = stale && (await within(certificate, stale, firstRow, given));
      if (stale && staleOmega !== undefined) {
        return [
          fault(
            certificate,
            "stale-cached-kernel",
            stale.weightName,
            { omegaAfter: staleOmega },
            stale,
          ),
        ];
      }
      for (const kernel of training.fused) {
        if (kernel === certificate.pair.expected) continue;
        const omega = await within(certificate, kernel, firstRow, given);
        if (omega === undefined) continue;
        const evidence = { otherBlock: kernel.name, omegaAfter: omega };
        return [
          fault(
            certificate,
            "kernel-of-other-block",
            `it is the exact fuse of ${kernel.name}`,
            evidence,
            kernel,
          ),
        ];
      }
      return undefined;
    },
  };
}

function fault(
  certificate: BlockCertificate,
  cause: BlockFault["cause"],
  detail: string,
  evidence: Record<string, string | number>,
  faulty: Kernel | undefined,
): BlockFault {
  const omegaBefore = Math.max(
    certificate.deviation?.weight.omega ?? 0,
    certificate.deviation?.bias.omega ?? 0,
  );
  return {
    block: certificate.name,
    cause,
    detail,
    confidence: "proved",
    evidence: { ...evidence, omegaBefore },
    faulty,
  };
}

function keyOf(file: ModelFile): string {
  return file.kind === "checkpoint" ? file.key : "";
}

async function otherStateDicts(file: ModelFile): Promise<Alternative[]> {
  if (file.kind !== "checkpoint") return [];
  const alternatives: Alternative[] = [];
  for (const { path, state } of file.checkpoint.candidates) {
    if (path === file.key) continue;
    const { prefix } = splitPrefix(state.tensors.keys());
    const other: CheckpointFile = { ...file, key: path, state, prefix };
    try {
      const side = await openSide(other);
      const kernels = new Map(side.fused.map((kernel) => [kernel.weightName, kernel]));
      if (side.fused.length > 0) alternatives.push({ path, side, kernels });
    } catch (error) {
      // A state dict of something else (a discriminator, an optimizer) is no candidate.
      if (!isReparamError(error)) throw error;
    }
  }
  return alternatives;
}

/** The fused kernel that the training file holds beside the block's branches. */
function staleKernel({ pair }: BlockCertificate, training: Side): Kernel | undefined {
  const { block } = pair.expected;
  if (block?.match.form !== "mixed" || training.file.kind !== "checkpoint") return undefined;
  const { tensors } = training.file.state;
  const [weight, bias] = [tensors.get(block.weightName), tensors.get(block.biasName)];
  return weight && storedKernel(block.weightName, weight, block.biasName, bias);
}

type FirstRow = (kernel: Kernel) => Promise<Bounded>;

/** Every block is compared with every other one of its shape: a row of each is read once. */
function rememberFirstRows(): FirstRow {
  const known = new WeakMap<Kernel, Promise<Bounded>>();
  return (kernel) => {
    const row = known.get(kernel) ?? kernel.rows(0, 1, true);
    known.set(kernel, row);
    return row;
  };
}

/** ω of the deploy kernel against another exact kernel, if that is within k; one row decides nearly always. */
async function within(
  certificate: BlockCertificate,
  kernel: Kernel,
  firstRow: FirstRow,
  options: TaskOptions,
): Promise<number | undefined> {
  const found = certificate.pair.found!;
  if (kernel.shape.join() !== found.shape.join()) return undefined;
  const k = {
    weight: kernel.roundings.weight + found.roundings.weight,
    bias: kernel.roundings.bias + found.roundings.bias,
  };
  const tolerance = toleranceOf({ k, unit: certificate.unit }, undefined);
  const [exact, other] = [await firstRow(kernel), await firstRow(found)];
  const fits = other.values.every((value, i) =>
    isNear(value, exact.values[i]!, exact.bounds[i]!, tolerance),
  );
  if (!fits) return undefined;
  const unit = roundingUnit(certificate.unit);
  const measured = await deviation(kernel, found, { weight: unit, bias: unit }, options.signal);
  const good = measured.weight.omega <= k.weight && measured.bias.omega <= k.bias;
  return good ? Math.max(measured.weight.omega, measured.bias.omega) : undefined;
}
