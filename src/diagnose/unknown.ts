/**
 * @file A block that no hypothesis explains: what can still be said. Where the weights look like a fresh
 * initialisation, like another state of training or like nothing known, that is said as consistent, never as proved.
 */

import { tapCount } from "../algebra/affine.ts";
import { UNIT_ROUNDOFF } from "../core/dtype.ts";
import { elementCount } from "../core/tensor.ts";
import type { BlockCertificate } from "../verify/weights.ts";
import type { Anatomy } from "./anatomy.ts";
import type { BlockFault, Evidence } from "./finding.ts";
import { firstChannel, layoutOf } from "./layout.ts";
import { isNear, type Tolerance } from "./samples.ts";
import type { Solution } from "./solve.ts";

/** Rows read for the statistics, spread over the block, and numbers from which on the fewest do: effort alone. */
const [LEAST_ROWS, MOST_ROWS, ENOUGH_NUMBERS] = [8, 64, 2 ** 14];
/**
 * Two kernels have something in common when more of their numbers agree in sign than chance allows: N/2 by this many
 * √N/2 more. Were the signs of one of them random, that happened with probability e^(−6²/2) = 2·10⁻⁸ at most, whatever
 * the sizes are (Hoeffding's inequality).
 */
const IN_COMMON = 6;
const HALF_SQUARED = UNIT_ROUNDOFF.float16 ** 2;

export async function describeUnknown(
  certificate: BlockCertificate,
  anatomy: Anatomy | undefined,
  solution: Solution | undefined,
  tolerance: Tolerance,
): Promise<BlockFault> {
  const { found } = certificate.pair;
  const measured = await compare(certificate, anatomy, tolerance);
  const { distance, biasDistance } = measured;
  const channels = certificate.deviation;
  const evidence: Evidence = {
    omega: Math.max(channels?.weight.omega ?? 0, channels?.bias.omega ?? 0),
    relativeDistance: distance,
    ring: measured.ring,
    centre: measured.centre,
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
  if (!measured.inCommon && measured.biasIsZero) {
    return {
      ...base,
      cause: "untouched-initialisation",
      detail:
        "all biases are exactly 0 and the weights have nothing in common with the trained ones",
      evidence: { ...evidence, standardDeviation: measured.standardDeviation },
    };
  }
  if (solution?.inSpan) return { ...base, cause: "unknown", detail: whereItIs(evidence), evidence };
  if (measured.likeHalf) {
    const detail = `${whereItIs(evidence)}; a fuse computed in TF32 or half precision rounds as much`;
    return { ...base, cause: "unknown", detail, evidence };
  }
  // Beyond 1 the exact kernel says less about the found one than nothing (zeros) would; independent ones are √2 apart.
  if (measured.besideIdentity >= 1) {
    return {
      ...base,
      cause: "unrelated-weights",
      detail: `distance ${distance.toPrecision(2)} of the kernel's size`,
      evidence,
    };
  }
  // Training moves every number; a fault in one branch or place leaves most of the others right.
  if (measured.inCommon && biasDistance < 1 && measured.right < 1 / 2) {
    return {
      ...base,
      cause: "other-training-state",
      detail: `the same weights moved by ${(100 * distance).toPrecision(2)} %, in no direction that a fuse makes`,
      evidence,
    };
  }
  return { ...base, cause: "unknown", detail: whereItIs(evidence), evidence };
}

interface Comparison {
  /** ‖Ŵ − W*‖ / ‖W*‖, and the parts of it in the centre tap and around it. */
  readonly distance: number;
  readonly ring: number;
  readonly centre: number;
  /** The same over the numbers that no identity adds to: its share fits by itself, whatever the weights are. */
  readonly besideIdentity: number;
  readonly inCommon: boolean;
  /**
   * Whether k roundings to 11 bits make as much: one moves a number by 2⁻¹¹/√3 of its magnitude (rms, evenly spread up to
   * 2⁻¹¹), and k random ones add up as √k.
   */
  readonly likeHalf: boolean;
  /** Share of the numbers that are within k roundings. */
  readonly right: number;
  readonly biasDistance: number;
  readonly biasIsZero: boolean;
  /** Of the found weights, around zero. */
  readonly standardDeviation: number;
}

async function compare(
  { pair }: BlockCertificate,
  anatomy: Anatomy | undefined,
  tolerance: Tolerance,
): Promise<Comparison> {
  const { expected, found } = pair;
  const outC = expected.shape[0] ?? 0;
  const rowSize = elementCount(expected.shape.slice(1));
  const enough = Math.ceil(ENOUGH_NUMBERS / Math.max(1, rowSize));
  const step = Math.max(1, Math.ceil(outC / Math.min(MOST_ROWS, Math.max(LEAST_ROWS, enough))));
  const taps = anatomy ? tapCount(anatomy.affine.axes) : 1;
  let [ring, centre, size, squares, count, right, bounds] = [0, 0, 0, 0, 0, 0, 0];
  const beside = { difference: 0, size: 0, agreeing: 0, signed: 0 };
  for (let o = 0; o < outC; o += step) {
    const exact = await expected.rows(o, o + 1, true);
    const { values } = await found!.rows(o, o + 1, false);
    const identity = anatomy ? identityAt(anatomy, o, taps) : -1;
    for (let i = 0; i < values.length; i++) {
      const [x, y] = [exact.values[i]!, values[i]!];
      const square = (y - x) ** 2;
      if (taps > 1 && i % taps !== (taps - 1) / 2) ring += square;
      else centre += square;
      size += x ** 2;
      squares += y ** 2;
      bounds += exact.bounds[i]! ** 2;
      count++;
      if (isNear(y, x, exact.bounds[i]!, tolerance)) right++;
      if (i === identity) continue;
      beside.difference += square;
      beside.size += x ** 2;
      if (x * y > 0) beside.agreeing++;
      if (x * y !== 0) beside.signed++;
    }
  }
  const exactBias = await expected.biases();
  const foundBias = (await found!.biases()).values;
  const ofBias = { difference: 0, size: 0, bounds: 0 };
  for (const [o, b] of foundBias.entries()) {
    ofBias.difference += (b - exactBias.values[o]!) ** 2;
    ofBias.size += exactBias.values[o]! ** 2;
    ofBias.bounds += exactBias.bounds[o]! ** 2;
  }
  const distance = ratio(ring + centre, size);
  return {
    distance,
    ring: ratio(ring, size),
    centre: ratio(centre, size),
    besideIdentity: beside.size > 0 ? ratio(beside.difference, beside.size) : distance,
    inCommon: 2 * beside.agreeing - beside.signed > IN_COMMON * Math.sqrt(beside.signed),
    likeHalf:
      ring + centre <= (tolerance.k.weight / 3) * HALF_SQUARED * bounds &&
      ofBias.difference <= (tolerance.k.bias / 3) * HALF_SQUARED * ofBias.bounds,
    right: right / Math.max(1, count),
    biasDistance: ratio(ofBias.difference, ofBias.size),
    biasIsZero: foundBias.every((b) => b === 0),
    standardDeviation: Math.sqrt(squares / Math.max(1, count)),
  };
}

/** Where in row `o` a bare identity would stand; −1 where the block cannot have one. */
function identityAt(anatomy: Anatomy, o: number, taps: number): number {
  const layout = layoutOf(anatomy);
  const channel = o - firstChannel(layout, o);
  if (anatomy.affine.inC !== layout.outC || channel < 0 || channel >= layout.width) return -1;
  return channel * taps + (taps - 1) / 2;
}

function ratio(difference: number, size: number): number {
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
  const told = ["ring", "centre", "bias"]
    .map((part) => [part, Number(evidence[part])] as const)
    .filter(([, size]) => size > 0)
    .map(([part, size]) => `${part} ${size.toPrecision(2)}`);
  return `relative difference: ${told.join(", ")}`;
}
