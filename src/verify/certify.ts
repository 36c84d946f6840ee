/** @file One training kernel against the deploy kernel that stands for it: how many roundings, or what else it is. */

import { type FloatDType, UNIT_ROUNDOFF } from "../core/dtype.ts";
import type { TaskOptions } from "../core/task.ts";
import { type Deviation, deviation, roundingUnit } from "./deviation.ts";
import type { Pair } from "./pair.ts";
import { findLowerPrecision, type Lowered } from "./precision.ts";

/**
 * `exact`: correctly rounded. `rounding`: within k. `lower`: on a narrower format's grid. `different`: none of these.
 * `unmatched`: nothing is proved either way, as no deploy kernel is known to stand for this block, or this file may itself
 * hold folded weights.
 */
export type BlockStatus = "exact" | "rounding" | "lower" | "different" | "unmatched";

export interface BlockCertificate {
  readonly name: string;
  /** The deploy tensor or node it was compared with. */
  readonly deployName: string | undefined;
  /** How the two were brought together. */
  readonly pairedBy: Pair["by"];
  readonly status: BlockStatus;
  /** Roundings an ordinary float32 fuse of this block makes. */
  readonly k: { readonly weight: number; readonly bias: number };
  /** Undefined without a candidate. ω of weight and bias in units of the format's roundings. */
  readonly deviation: Deviation | undefined;
  /** The format whose roundings are counted. */
  readonly unit: FloatDType;
  readonly lowered: Lowered | undefined;
  readonly pair: Pair;
}

/**
 * The float64 reference rounds too: at most k times 2⁻⁵³ of the bound, which is k·2⁻²⁹ of the float32 unit. A kernel that
 * was folded in float64 and rounded once may exceed 1 by that much, and for float64 files ω is k by nature.
 */
const REFERENCE_ERROR = 2 ** -29;

export async function certify(pair: Pair, { signal }: TaskOptions): Promise<BlockCertificate> {
  const { expected, found, by } = pair;
  const k = {
    weight: expected.roundings.weight + (found?.roundings.weight ?? 0),
    bias: expected.roundings.bias + (found?.roundings.bias ?? 0),
  };
  const base = { name: expected.name, pairedBy: by, k, pair };
  if (!found) {
    return {
      ...base,
      deployName: undefined,
      status: "unmatched",
      deviation: undefined,
      unit: "float32",
      lowered: undefined,
    };
  }
  const unit = countedFormat(expected.dtype, found.dtype);
  const measured = await deviation(
    expected,
    found,
    { weight: roundingUnit(unit), bias: roundingUnit(unit) },
    signal,
  );
  const status = statusOf(measured, k);
  const lowered =
    status === "different" ? await findLowerPrecision(expected, found, signal) : undefined;
  return {
    ...base,
    deployName: found.weightName,
    status: lowered
      ? "lower"
      : status === "different" && (expected.mayBeFolded || !isSurePair(by, measured, k.weight))
        ? "unmatched"
        : status,
    deviation: measured,
    unit,
    lowered,
  };
}

/**
 * Without names, a kernel that differs in every filter may as well be one into which the deploy side has folded more
 * (a layer scale, a batch norm). One filter within k proves that the two belong together.
 */
function isSurePair(by: Pair["by"], { weight }: Deviation, k: number): boolean {
  return by === "name" || (by === "content" && weight.channels.some((omega) => omega <= k));
}

/**
 * The roundings counted are those of the coarser of the training format and float32: converters fuse in float32 or in
 * the training format, and a deploy file that is coarser than its training form is a finding, not a unit.
 */
function countedFormat(training: FloatDType, deploy: FloatDType): FloatDType {
  if (training === "float64") return deploy === "float64" ? "float64" : "float32";
  return UNIT_ROUNDOFF[training] > UNIT_ROUNDOFF.float32 && deploy === training
    ? training
    : "float32";
}

function statusOf(measured: Deviation, k: { weight: number; bias: number }): BlockStatus {
  const within = (limit: (roundings: number) => number): boolean =>
    measured.weight.omega <= limit(k.weight) && measured.bias.omega <= limit(k.bias);
  if (within((roundings) => 1 + roundings * REFERENCE_ERROR)) return "exact";
  return within((roundings) => roundings) ? "rounding" : "different";
}
