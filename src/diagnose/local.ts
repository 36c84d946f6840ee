/** @file Single numbers or filters that differ while the rest of the block is right. */

import type { Unit } from "../verify/deviation.ts";
import type { Kernel } from "../verify/side.ts";
import { leastSquares } from "./least-squares.ts";

export interface LocalFault {
  readonly cause: "altered-weight" | "altered-bias" | "altered-channel";
  readonly detail: string;
  readonly evidence: Readonly<Record<string, number | readonly number[]>>;
}

/** A filter with more wrong numbers than this is called altered as a whole. */
const MAX_SINGLE_WEIGHTS = 3;
/** Described one by one; the rest is counted. */
const MAX_DESCRIBED = 8;

/** What is wrong in `channels` of `found`, given that all others agree with `expected`. */
export async function localFaults(
  expected: Kernel,
  found: Kernel,
  channels: readonly number[],
  k: { readonly weight: number; readonly bias: number },
  unit: { readonly weight: Unit; readonly bias: Unit },
): Promise<LocalFault[]> {
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
      faults.push(wholeFilter(o, exact.values, values, wrong.length, biasWrong));
      continue;
    }
    for (const i of wrong) {
      const index = positionOf(i, o, expected.shape);
      faults.push({
        cause: "altered-weight",
        detail: `weight[${index.join(", ")}] is ${values[i]!.toPrecision(9)}, expected ${exact.values[i]!.toPrecision(9)}`,
        evidence: { index, found: values[i]!, expected: exact.values[i]! },
      });
    }
    if (biasWrong) {
      faults.push({
        cause: "altered-bias",
        detail: `bias[${o}] is ${foundBias[o]!.toPrecision(9)}, expected ${exactBias.values[o]!.toPrecision(9)}`,
        evidence: { index: [o], found: foundBias[o]!, expected: exactBias.values[o]! },
      });
    }
  }
  return faults;
}

function wholeFilter(
  o: number,
  exact: Float64Array,
  found: Float64Array,
  wrong: number,
  biasWrong: boolean,
): LocalFault {
  const fit = leastSquares([exact], found);
  const factor = fit.coefficients[0]!;
  const bias = biasWrong ? ", and the bias differs" : "";
  // A filter that is the exact one times a number: all rounding apart.
  return fit.residual < 1e-6
    ? {
        cause: "altered-channel",
        detail: `filter ${o} is the exact one times ${factor.toPrecision(7)}${bias}`,
        evidence: { channel: o, factor, wrongWeights: wrong },
      }
    : {
        cause: "altered-channel",
        detail: `filter ${o}: ${wrong} of ${found.length} weights differ${bias}`,
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
