/** @file Single numbers or filters that differ while the rest of the block is right. */

import type { Bounded } from "../algebra/affine.ts";
import type { Kernel } from "../verify/side.ts";
import { unitsOf } from "./confirm.ts";
import type { Confidence } from "./finding.ts";
import { fitParts } from "./fit-parts.ts";
import type { Tolerance } from "./samples.ts";

export interface LocalFault {
  readonly cause: "altered-weight" | "altered-bias" | "altered-channel";
  readonly detail: string;
  /** What was found at a place is a fact, and so is a factor; a filter that is simply another is located, not explained. */
  readonly confidence: Confidence;
  readonly evidence: Readonly<Record<string, number | readonly number[]>>;
}

/** A filter with more wrong numbers than this is called altered as a whole: what is printed, true either way. */
const MAX_SINGLE_WEIGHTS = 3;
/** Described one by one; the rest is counted. */
const MAX_DESCRIBED = 8;

/** What is wrong in `channels` of `found`, given that all others agree with `expected`. */
export async function localFaults(
  expected: Kernel,
  found: Kernel,
  channels: readonly number[],
  tolerance: Tolerance,
): Promise<LocalFault[]> {
  const { k } = tolerance;
  const unit = unitsOf(tolerance);
  const faults: LocalFault[] = [];
  const exactBias = await expected.biases();
  const foundBias = (await found.biases()).values;
  for (const o of channels.slice(0, MAX_DESCRIBED)) {
    const exact = await expected.rows(o, o + 1, true);
    const { values } = await found.rows(o, o + 1, false);
    const wrong: number[] = [];
    for (let i = 0; i < values.length; i++) {
      const error = Math.abs(values[i]! - exact.values[i]!);
      if (!(error <= k.weight * unit.weight.at(exact.values[i]!, exact.bounds[i]!, i)))
        wrong.push(i);
    }
    const biasError = Math.abs(foundBias[o]! - exactBias.values[o]!);
    const biasWrong = !(
      biasError <=
      k.bias * unit.bias.at(exactBias.values[o]!, exactBias.bounds[o]!, o)
    );
    if (wrong.length > MAX_SINGLE_WEIGHTS) {
      const bias = { exact: exactBias, found: foundBias[o]!, wrong: biasWrong };
      faults.push(wholeFilter(o, exact, values, wrong.length, bias, tolerance));
      continue;
    }
    for (const i of wrong) {
      const index = positionOf(i, o, expected.shape);
      faults.push({
        cause: "altered-weight",
        confidence: "proved",
        detail: `weight[${index.join(", ")}] is ${values[i]!.toPrecision(9)}, expected ${exact.values[i]!.toPrecision(9)}`,
        evidence: { index, found: values[i]!, expected: exact.values[i]! },
      });
    }
    if (biasWrong) {
      faults.push({
        cause: "altered-bias",
        confidence: "proved",
        detail: `bias[${o}] is ${foundBias[o]!.toPrecision(9)}, expected ${exactBias.values[o]!.toPrecision(9)}`,
        evidence: { index: [o], found: foundBias[o]!, expected: exactBias.values[o]! },
      });
    }
  }
  return faults;
}

interface FilterBias {
  readonly exact: Bounded;
  readonly found: number;
  readonly wrong: boolean;
}

function wholeFilter(
  o: number,
  exact: Bounded,
  found: Float64Array,
  wrong: number,
  bias: FilterBias,
  tolerance: Tolerance,
): LocalFault {
  // A factor is one rounding more than the fuse.
  const k = { weight: tolerance.k.weight + 1, bias: tolerance.k.bias + 1 };
  const fit = fitParts([exact], found, { ...tolerance, k }, new Float64Array(found.length));
  const factor = fit.coefficients[0]!;
  const slack = fit.uncertainty[0]! * Math.abs(bias.exact.values[o]!);
  const { at } = unitsOf({ ...tolerance, k }).bias;
  const step = at(factor * bias.exact.values[o]!, Math.abs(factor) * bias.exact.bounds[o]!, o);
  const biasScaled =
    bias.wrong && Math.abs(bias.found - factor * bias.exact.values[o]!) <= k.bias * step + slack;
  const words = biasScaled ? ", and so is its bias" : bias.wrong ? ", and the bias differs" : "";
  return fit.omega() <= k.weight
    ? {
        cause: "altered-channel",
        confidence: bias.wrong && !biasScaled ? "consistent" : "proved",
        detail: `filter ${o} is the exact one times ${factor.toPrecision(7)}${words}`,
        evidence: { channel: o, factor, wrongWeights: wrong },
      }
    : {
        cause: "altered-channel",
        confidence: "consistent",
        detail: `filter ${o}: ${wrong} of ${found.length} weights differ${words}`,
        evidence: { channel: o, wrongWeights: wrong, relativeDistance: fit.residual },
      };
}

/** `[o, i, h, w]` of flat position `i` in row `o`. */
function positionOf(flat: number, o: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = flat;
  for (const size of shape.slice(1).reverse()) {
    index.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return [o, ...index];
}
