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
import { addRows, emptyRows } from "./layout.ts";
import { leastSquares } from "./least-squares.ts";
import type { Tolerance } from "./samples.ts";
import { tailFactors } from "./tail.ts";
import type { Variants } from "./variants.ts";

export interface Drift {
  /** By branch label: median of σ̂²/σ² over the channels that tell. */
  readonly varianceRatios: Readonly<Record<string, number>>;
  /** By branch label: recovered variances; NaN where a channel does not tell. */
  readonly variances: Readonly<Record<string, readonly number[]>>;
  /** Largest number of roundings left per weight. */
  readonly omega: number;
  /** Branches whose kernels are collinear, so that only their sum is known. */
  readonly ambiguous: readonly string[];
  /** Whether weights are right already, and only the means moved. */
  readonly meansOnly: boolean;
}

/** Two fitted roundings more than the fuse makes: the factor itself is only known to a rounding. */
const FIT_ROUNDINGS = 2;
/** Statistics that moved further than this are no drift. */
const MAX_RATIO = 100;

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
  // As many unknowns as numbers explain anything.
  if (norms.every((norm) => !norm) || layout.rowSize < branches.length + 4) return undefined;
  const { scale } = await tailFactors(anatomy, "");
  const found = certificate.pair.found!;
  const variances = branches.map(() => new Float64Array(layout.outC).fill(Number.NaN));
  const ambiguous = new Set<number>();
  let omega = 0;
  for (let o = 0; o < layout.outC; o++) {
    if (o % 64 === 0) throwIfAborted(options.signal);
    const columns: Float64Array[] = [];
    const bounds: Float64Array[] = [];
    for (const branch of branches) {
      const row = emptyRows(layout, 1, true);
      await addRows(branch.affine, layout, o, o + 1, row);
      columns.push(row.values.map((value) => value * scale[o]!));
      bounds.push(row.bounds.map((bound) => bound * Math.abs(scale[o]!)));
    }
    const { values } = await found.rows(o, o + 1, false);
    const fit = leastSquares(columns, values);
    for (const j of fit.dependent) ambiguous.add(j);
    for (let i = 0; i < values.length; i++) {
      let exact = 0;
      let bound = 0;
      for (const [j, column] of columns.entries()) {
        const a = fit.coefficients[j]!;
        if (Number.isNaN(a)) continue;
        exact += a * column[i]!;
        bound += Math.abs(a) * bounds[j]![i]!;
      }
      const step =
        tolerance.unit * bound +
        tolerance.floor +
        tolerance.gridStep * Math.abs(exact) +
        tolerance.gridFloor;
      omega = Math.max(omega, Math.abs(values[i]! - exact) / step);
    }
    if (!(omega <= certificate.k.weight + FIT_ROUNDINGS)) return undefined;
    for (const [j, norm] of norms.entries()) {
      const a = fit.coefficients[j]!;
      if (Number.isNaN(a) || columns[j]!.every((value) => value === 0)) continue;
      // A branch without batch norm has nothing that can move.
      if (!norm) {
        if (Math.abs(a - 1) > 1e-4) return undefined;
        continue;
      }
      const variance = (norm.variance[o]! + norm.epsilon) / (a * a) - norm.epsilon;
      const ratio = variance / norm.variance[o]!;
      const meaningful = fit.dependent.length === 0;
      if (meaningful && !(a > 0 && ratio < MAX_RATIO && ratio > 1 / MAX_RATIO)) return undefined;
      if (meaningful) variances[j]![o] = variance;
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
