/**
 * @file A block that no hypothesis explains: what can still be said. Where the weights look like a fresh
 * initialisation, like another state of training or like nothing known, that is said as consistent, never as proved.
 */

import { tapCount } from "../algebra/affine.ts";
import type { BlockCertificate } from "../verify/weights.ts";
import type { Anatomy } from "./anatomy.ts";
import type { BlockFault, Evidence } from "./finding.ts";
import type { Solution } from "./solve.ts";

/** Kernels nearer than this share a history; independent ones are about √2 apart, the same a few percent. */
const SAME_HISTORY = 0.5;
/** Part of the kernel outside the branches' span: the identity's share fits by itself, whatever the weights are. */
const UNRELATED = 0.1;
/** Rows read for the statistics. */
const MAX_ROWS = 64;

export async function describeUnknown(
  certificate: BlockCertificate,
  anatomy: Anatomy | undefined,
  solution: Solution | undefined,
): Promise<BlockFault> {
  const { expected, found } = certificate.pair;
  const outC = expected.shape[0] ?? 0;
  const step = Math.max(1, Math.ceil(outC / MAX_ROWS));
  const taps = anatomy ? tapCount(anatomy.affine.axes) : 1;
  const parts = { ring: 0, centre: 0, exact: 0 };
  let foundSquares = 0;
  let count = 0;
  for (let o = 0; o < outC; o += step) {
    const exact = await expected.rows(o, o + 1, false);
    const { values } = await found!.rows(o, o + 1, false);
    for (let i = 0; i < values.length; i++) {
      const square = (values[i]! - exact.values[i]!) ** 2;
      if (taps > 1 && i % taps !== (taps - 1) / 2) parts.ring += square;
      else parts.centre += square;
      parts.exact += exact.values[i]! ** 2;
      foundSquares += values[i]! ** 2;
      count++;
    }
  }
  const exactBias = (await expected.biases()).values;
  const foundBias = (await found!.biases()).values;
  const biasDistance = relative(foundBias, exactBias);
  const size = Math.sqrt(parts.exact);
  const distance = Math.sqrt(parts.ring + parts.centre) / size;
  const channels = certificate.deviation;
  const evidence: Evidence = {
    omega: Math.max(channels?.weight.omega ?? 0, channels?.bias.omega ?? 0),
    relativeDistance: distance,
    ring: Math.sqrt(parts.ring) / size,
    centre: Math.sqrt(parts.centre) / size,
    bias: biasDistance,
    outsideBranches: solution?.residual ?? Number.NaN,
    ...(anatomy && solution ? coefficients(anatomy, solution) : {}),
  };
  const base = { block: certificate.name, confidence: "consistent" as const, faulty: found };
  if (!Number.isFinite(distance + biasDistance)) {
    return {
      ...base,
      cause: "not-finite",
      confidence: "proved",
      detail: "NaN or infinity in weight or bias",
      evidence,
    };
  }
  if (distance >= SAME_HISTORY && foundBias.every((b) => b === 0)) {
    const deviation = Math.sqrt(foundSquares / Math.max(1, count));
    return {
      ...base,
      cause: "untouched-initialisation",
      detail:
        "all biases are exactly 0 and the weights have nothing in common with the trained ones",
      evidence: { ...evidence, standardDeviation: deviation },
    };
  }
  if (distance >= SAME_HISTORY && (solution?.residual ?? 1) >= UNRELATED) {
    return {
      ...base,
      cause: "unrelated-weights",
      detail: `distance ${distance.toPrecision(2)} of the kernel's size`,
      evidence,
    };
  }
  if (
    distance < SAME_HISTORY &&
    biasDistance < 1 &&
    distance > 0 &&
    (solution?.residual ?? 1) > OUTSIDE
  ) {
    return {
      ...base,
      cause: "other-training-state",
      detail: `the same weights moved by ${(100 * distance).toPrecision(2)} %, in no direction that a fuse makes`,
      evidence,
    };
  }
  return { ...base, cause: "unknown", detail: whereItIs(evidence), evidence };
}

/** A residual of this size is no rounding of any format we know, bfloat16 included. */
const OUTSIDE = 2e-3;

function relative(found: Float64Array, exact: Float64Array): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < exact.length; i++) {
    difference += (found[i]! - exact[i]!) ** 2;
    size += exact[i]! ** 2;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / (size || 1));
}

function coefficients(anatomy: Anatomy, solution: Solution): Record<string, readonly number[]> {
  return Object.fromEntries(
    anatomy.branches.map((branch, j) => [
      `coefficients ${branch.label}`,
      solution.fits.map((fit) => fit.coefficients[j]!),
    ]),
  );
}

function whereItIs(evidence: Evidence): string {
  const parts = ["ring", "centre", "bias"].map((part) => [part, Number(evidence[part])] as const);
  const told = parts
    .filter(([, size]) => size > 1e-6)
    .map(([part, size]) => `${part} ${size.toPrecision(2)}`);
  return `relative difference: ${told.join(", ") || "below 1e-6"}`;
}
