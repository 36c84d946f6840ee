/** @file Faults of one block whose deploy kernel is the exact one but for its order, or but for a few filters. */

import type { Bounded } from "../algebra/affine.ts";
import type { TaskOptions } from "../core/task.ts";
import { deviation } from "../verify/deviation.ts";
import type { Kernel } from "../verify/side.ts";
import type { BlockCertificate } from "../verify/weights.ts";
import { unitsOf } from "./confirm.ts";
import type { BlockFault } from "./finding.ts";
import { localFaults } from "./local.ts";
import { findRearrangements } from "./rearranged.ts";
import { type Tolerance, toleranceOf } from "./samples.ts";

/** Roundings that the number needs that needs most. */
export function omegaOf({ deviation: measured }: BlockCertificate): number {
  return measured ? Math.max(measured.weight.omega, measured.bias.omega) : Number.POSITIVE_INFINITY;
}

/** What is wrong in `channels`, given that all others are as `expected`. */
export async function describeLocal(
  certificate: BlockCertificate,
  expected: Kernel,
  channels: readonly number[],
  tolerance: Tolerance,
): Promise<BlockFault[]> {
  const found = certificate.pair.found!;
  const exact = toleranceOf(certificate, tolerance.grid);
  const faults = await localFaults(expected, found, channels, exact);
  return faults.map((fault) => ({
    block: certificate.name,
    ...fault,
    evidence: { ...fault.evidence, omegaBefore: omegaOf(certificate), channels: channels.length },
    faulty: withRowsOf(expected, found, channels),
  }));
}

/** The exact kernel with the found one's filters in `channels`. */
function withRowsOf(expected: Kernel, found: Kernel, channels: readonly number[]): Kernel {
  const chosen = new Set(channels);
  return {
    ...expected,
    rows: async (begin, end, bounds) => {
      const exact = await expected.rows(begin, end, bounds);
      const size = exact.values.length / (end - begin);
      for (const o of channels) {
        if (o < begin || o >= end) continue;
        exact.values.set((await found.rows(o, o + 1, false)).values, (o - begin) * size);
      }
      return exact;
    },
    biases: async () => {
      const [exact, other] = [await expected.biases(), await found.biases()];
      return {
        ...exact,
        values: exact.values.map((b, o) => (chosen.has(o) ? other.values[o]! : b)),
      };
    },
  };
}

/** The kernel, or its channels, in another order. */
export async function explainRearranged(
  certificate: BlockCertificate,
  tolerance: Tolerance,
  options: TaskOptions,
): Promise<BlockFault[] | undefined> {
  for (const { kernel, ...order } of await findRearrangements(certificate, tolerance)) {
    const exact = toleranceOf(certificate, tolerance.grid);
    const measured = await deviation(
      kernel,
      certificate.pair.found!,
      unitsOf(exact),
      options.signal,
    );
    if (!(measured.weight.omega <= exact.k.weight)) continue;
    const biasFits = measured.bias.omega <= exact.k.bias;
    const omegas = { omegaBefore: omegaOf(certificate), omegaAfter: measured.weight.omega };
    const { values: biases } = await certificate.pair.found!.biases();
    const dropped = !biasFits && biases.every((bias) => bias === 0);
    const named: BlockFault = {
      block: certificate.name,
      ...order,
      confidence: biasFits || dropped ? "proved" : "consistent",
      detail: biasFits || dropped ? order.detail : `${order.detail}; its biases are others`,
      evidence: { ...order.evidence, ...omegas, biasFits },
      faulty: kernel,
    };
    return dropped ? [named, biasDropped(certificate, omegas)] : [named];
  }
  return undefined;
}

function biasDropped(
  certificate: BlockCertificate,
  omegas: { readonly omegaBefore: number; readonly omegaAfter: number },
): BlockFault {
  const { expected } = certificate.pair;
  const biases = async (): Promise<Bounded> => {
    const { length } = (await expected.biases()).values;
    return { values: new Float64Array(length), bounds: new Float64Array(length) };
  };
  return {
    block: certificate.name,
    cause: "bias-dropped",
    detail: "",
    confidence: "proved",
    evidence: omegas,
    faulty: { ...expected, biases },
  };
}
