/**
 * @file Statistics that moved between conversion and comparison: every branch has another factor per channel, and
 * nothing else changed. The factors are solved channel by channel,  Ŵ = Σ aⱼ·tⱼ,  and must bring ω under k.
 *
 *     aⱼ = √((σ² + ε) / (σ̂² + ε))      so      σ̂² = (σ² + ε) / aⱼ² − ε
 */

import { throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { readFloat64 } from "../core/tensor.ts";
import type { BlockCertificate } from "../verify/weights.ts";
import { batchNormsOf, batchNormTensors } from "./branch-edits.ts";
import { fitParts, type Part, totalBounds } from "./fit-parts.ts";
import { addRows, emptyRows } from "./layout.ts";
import type { Tolerance } from "./samples.ts";
import { tailFactors } from "./tail.ts";
import type { Variants } from "./variants.ts";

export interface Drift {
  /** By branch label: median of σ̂²/σ² over the channels that tell. */
  readonly varianceRatios: Readonly<Record<string, number>>;
  /** By branch label: recovered variances; NaN where a channel does not tell. */
  readonly variances: Readonly<Record<string, readonly number[]>>;
  /** Largest number of roundings left per weight, fitted factors allowed for. */
  readonly omega: number;
  /** Branches whose kernels are collinear, so that only their sum is known. */
  readonly ambiguous: readonly string[];
  /** Whether weights are right already, and only the means moved. */
  readonly meansOnly: boolean;
}

/** Undefined unless one factor per branch and channel explains every weight. */
export async function findDrift(
  certificate: BlockCertificate,
  variants: Variants,
  tolerance: Tolerance,
  options: TaskOptions,
): Promise<Drift | undefined> {
  const { anatomy, layout } = variants;
  const { branches } = anatomy;
  const norms = await Promise.all(
    branches.map(async (branch) => {
      const nodes = batchNormsOf(branch.nodes);
      const found = nodes.length === 1 ? batchNormTensors(anatomy, nodes[0]!) : undefined;
      return found && { variance: await readFloat64(found.tensors[3]), epsilon: found.epsilon };
    }),
  );
  // As many unknowns as numbers explain anything. One number more fits by chance once in 2²⁴ / 2k, in every channel.
  if (norms.every((norm) => !norm) || layout.rowSize <= branches.length) return undefined;
  const { scale } = await tailFactors(anatomy, "");
  const found = certificate.pair.found!;
  const variances = branches.map(() => new Float64Array(layout.outC).fill(Number.NaN));
  const ambiguous = new Set<number>();
  let omega = 0;
  for (let o = 0; o < layout.outC; o++) {
    if (o % 64 === 0) throwIfAborted(options.signal);
    const parts: Part[] = [];
    for (const branch of branches) {
      const row = emptyRows(layout, 1, true);
      await addRows(branch.affine, layout, o, o + 1, row);
      parts.push({
        values: row.values.map((value) => value * scale[o]!),
        bounds: row.bounds.map((bound) => bound * Math.abs(scale[o]!)),
      });
    }
    const target = (await found.rows(o, o + 1, false)).values.slice();
    // A branch without batch norm has nothing that can move.
    for (const [j, { values }] of parts.entries()) {
      if (!norms[j]) for (let i = 0; i < target.length; i++) target[i]! -= values[i]!;
    }
    const movable = [...norms.keys()].filter((j) => norms[j]);
    const fit = fitParts(
      movable.map((j) => parts[j]!),
      target,
      tolerance,
      totalBounds(parts, target.length),
    );
    for (const at of fit.dependent) ambiguous.add(movable[at]!);
    omega = Math.max(omega, fit.omega());
    if (!(omega <= tolerance.k.weight)) return undefined;
    if (fit.dependent.length > 0) continue;
    for (const [at, j] of movable.entries()) {
      const [a, slack] = [fit.coefficients[at]!, fit.uncertainty[at]!];
      // No variance turns a sign or makes a branch vanish, and none is negative.
      if (a + slack <= 0) return undefined;
      if (a - slack <= 0) continue;
      const { variance, epsilon } = norms[j]!;
      const spread = variance[o]! + epsilon;
      if (spread / (a - slack) ** 2 < epsilon) return undefined;
      variances[j]![o] = spread / a ** 2 - epsilon;
    }
  }
  const ratios: Record<string, number> = {};
  const recovered: Record<string, readonly number[]> = {};
  for (const [j, norm] of norms.entries()) {
    if (!norm) continue;
    const known = [...variances[j]!.keys()].filter((o) => !Number.isNaN(variances[j]![o]!));
    if (known.length === 0) continue;
    ratios[branches[j]!.label] = median(known.map((o) => variances[j]![o]! / norm.variance[o]!));
    recovered[branches[j]!.label] = [...variances[j]!];
  }
  const weightOmega = certificate.deviation?.weight.omega ?? Number.POSITIVE_INFINITY;
  return {
    varianceRatios: ratios,
    variances: recovered,
    omega,
    ambiguous: [...ambiguous].map((j) => branches[j]!.label),
    meansOnly: weightOmega <= certificate.k.weight,
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
