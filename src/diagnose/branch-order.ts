/** @file The channels of one branch in another order, all others right: proved by ω over the block. */

import type { Bounded } from "../algebra/affine.ts";
import { tapCount } from "../algebra/affine.ts";
import { deviation } from "../verify/deviation.ts";
import type { BlockCertificate } from "../verify/weights.ts";
import type { Branch } from "./anatomy.ts";
import { omegaOf } from "./block-fault.ts";
import {
  biasesInOrder,
  describeOrder,
  findOrders,
  MAX_LISTED,
  rowsInOrder,
  type Subject,
} from "./channel-order.ts";
import { sumOfParts, unitsOf } from "./confirm.ts";
import type { BlockFault } from "./finding.ts";
import { addRows, emptyRows, type Layout } from "./layout.ts";
import { type Tolerance, toleranceOf } from "./samples.ts";
import { type TailFactors, tailFactors } from "./tail.ts";
import type { Variants } from "./variants.ts";

/** Undefined unless one order of one branch's channels explains every number. */
export async function findBranchOrder(
  certificate: BlockCertificate,
  variants: Variants,
  { grid }: Tolerance,
  signal?: AbortSignal,
): Promise<BlockFault | undefined> {
  const { anatomy, layout } = variants;
  const { branches } = anatomy;
  if (branches.length < 2) return undefined;
  const { expected, found } = certificate.pair;
  const tolerance = toleranceOf(certificate, grid);
  const factors = await tailFactors(anatomy, "");
  for (const branch of branches) {
    const { affine, label } = branch;
    // An identity has one number per row: its channels match anything.
    if (affine.support.width !== layout.width) continue;
    const others = branches.filter((other) => other !== branch);
    const subject = subjectOf(branch, others, layout, factors);
    for await (const order of findOrders(subject, found!, tolerance)) {
      const size = { width: layout.width, taps: tapCount(affine.axes) };
      const changed = {
        ...affine,
        isInput: false,
        weights: rowsInOrder(affine.weights, order, size),
        biases: biasesInOrder(affine.biases, order),
      };
      const parts = [changed, ...others.map((other) => other.affine)];
      const tail = anatomy.tail.length > 0 ? factors : undefined;
      const kernel = sumOfParts(expected, variants, parts, { factors: tail });
      const { weight, bias } = await deviation(kernel, found!, unitsOf(tolerance), signal);
      if (!(weight.omega <= tolerance.k.weight && bias.omega <= tolerance.k.bias)) continue;
      return {
        block: certificate.name,
        cause: `${order.axis}-channels-permuted`,
        detail: `${label}: ${describeOrder(order)}`,
        confidence: "proved",
        evidence: {
          branch: label,
          order: order.order.slice(0, MAX_LISTED),
          omegaBefore: omegaOf(certificate),
          omegaAfter: Math.max(weight.omega, bias.omega),
        },
        faulty: kernel,
      };
    }
  }
  return undefined;
}

function subjectOf(
  { affine }: Branch,
  others: readonly Branch[],
  layout: Layout,
  { scale, shift, shiftBound }: TailFactors,
): Subject {
  const rowOf = async (parts: readonly Pick<Branch, "affine">[], o: number): Promise<Bounded> => {
    const total = emptyRows(layout, 1, true);
    for (const part of parts) await addRows(part.affine, layout, o, o + 1, total);
    return total;
  };
  return {
    outC: layout.outC,
    width: layout.width,
    taps: layout.taps,
    scale,
    row: (o) => rowOf([{ affine }], o),
    biases: () => affine.biases(),
    otherRow: (o) => rowOf(others, o),
    otherBiases: async () => {
      // The tail's shift comes after its factor.
      const values = shift.map((value, o) => value / scale[o]!);
      const bounds = shiftBound.map((value, o) => value / Math.abs(scale[o]!));
      for (const other of others) {
        const bias = await other.affine.biases();
        for (let o = 0; o < layout.outC; o++) {
          values[o]! += bias.values[o]!;
          bounds[o]! += bias.bounds[o]!;
        }
      }
      return { values, bounds };
    },
  };
}
