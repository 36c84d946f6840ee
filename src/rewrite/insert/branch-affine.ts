/** @file What a branch computes, by the rules of the affine calculus; whether it may stand beside the dense branch. */

import { add } from "../../algebra/add.ts";
import { type Affine, inputAffine, isRefused, type Refused } from "../../algebra/affine.ts";
import { averagePool, convolve } from "../../algebra/convolve.ts";
import { pad } from "../../algebra/pad.ts";
import type { Parameter } from "../../algebra/parameter.ts";
import { type BatchNorm, batchNorm } from "../../algebra/scale-shift.ts";
import { sameSupport } from "../../algebra/support.ts";
import { sameTaps } from "../../algebra/taps.ts";
import type { BatchNormStep, Branch, ConvGeometry, ConvStep } from "./branch.ts";

/** Where a branch's numbers come from. */
export interface BranchNumbers {
  /** `[outC, inC/group, ...kernel]` */
  weight(step: ConvStep): Parameter;
  batchNorm(step: BatchNormStep): BatchNorm;
}

/** The branch as an affine value of the block's input; no number is read until its weights are. */
export function branchAffine(
  { inC, axes }: ConvGeometry,
  branch: Branch,
  numbers: BranchNumbers,
): Affine | Refused {
  const minus = (crops: readonly number[]): number[] => crops.map((n) => -n);
  let v: Affine | Refused = pad(
    inputAffine(inC, axes.length),
    minus(branch.beginCrops),
    minus(branch.endCrops),
    "zero",
  );
  for (const step of branch.steps) {
    if (isRefused(v)) return v;
    if (step.op === "bn") v = batchNorm(v, numbers.batchNorm(step));
    else if (step.op === "average") v = averagePool(v, step.axes);
    else v = convolve(v, { ...step, weight: numbers.weight(step), bias: undefined });
  }
  return v;
}

const UNREAD: Parameter = {
  name: "unread",
  length: 0,
  roundings: 0,
  read: async () => new Float64Array(0),
};

const UNREAD_NUMBERS: BranchNumbers = {
  weight: () => UNREAD,
  batchNorm: () => ({ gamma: UNREAD, beta: UNREAD, mean: UNREAD, variance: UNREAD, epsilon: 0 }),
};

/**
 * Why a branch cannot be taken out of the dense kernel exactly; undefined if it can: same stride and length, no tap
 * and no channel that the dense kernel does not have.
 */
export function whyNotExact(
  geometry: ConvGeometry,
  dense: Branch,
  branch: Branch,
): string | undefined {
  const whole = branchAffine(geometry, dense, UNREAD_NUMBERS);
  const part = branchAffine(geometry, branch, UNREAD_NUMBERS);
  if (isRefused(whole)) return whole.refused;
  if (isRefused(part)) return part.refused;
  const sum = add(whole, part);
  if (isRefused(sum)) return sum.refused;
  if (!sum.axes.every((axis, i) => sameTaps(axis.taps, whole.axes[i]!.taps))) {
    return "its taps are not all taps of the kernel";
  }
  return sameSupport(sum.support, whole.support)
    ? undefined
    : "it connects channels that the convolution does not";
}
