/** @file One word from the certificates, and the reasons for it. No tolerance enters here. */

import type { FunctionCertificate } from "./function.ts";
import type { DifferentTensor } from "./other-tensors.ts";
import type { LowerFormat } from "./precision.ts";
import type { WeightCertificate } from "./weights.ts";

export type VerdictWord =
  | "EXACT-FOLD"
  | "EQUAL-UP-TO-ROUNDING"
  | "LOWER-PRECISION"
  | "DIFFERENT"
  | "UNDECIDED";

export interface Verdict {
  readonly word: VerdictWord;
  /** With `LOWER-PRECISION`: the formats found. */
  readonly formats: readonly LowerFormat[];
  /** Most important first. */
  readonly reasons: readonly string[];
}

export function decide(
  weights: WeightCertificate,
  whole: FunctionCertificate | undefined,
): Verdict {
  const { blocks } = weights;
  const reasons: string[] = [];
  const bad = blocks.filter((block) => block.status === "different");
  const badTensors = namesAreSure(weights) ? changedTensors(weights) : [];
  if (bad.length > 0)
    reasons.push(
      `${plural(bad.length, "block")} of ${blocks.length} ${differ(bad)}: ${names(bad)}`,
    );
  if (badTensors.length > 0) {
    reasons.push(
      `${plural(badTensors.length, "other tensor")} ${differ(badTensors)}: ${names(badTensors)}`,
    );
  }
  if (whole?.outputMismatch) reasons.push(whole.outputMismatch);
  const rejected = whole?.outputs.filter((output) => !(output.ratio <= 1)) ?? [];
  const proved = reasons.length === 0 && openQuestions(weights).length === 0;
  const formats = lowerFormats(weights);
  if (formats.length > 0 && reasons.length === 0) {
    return {
      word: "LOWER-PRECISION",
      formats,
      reasons: [`every number is the exact one rounded to ${formats.join(" or ")}`],
    };
  }
  for (const output of rejected) {
    reasons.push(
      `output ${output.name} moves ${output.ratio.toPrecision(3)} times as far as rounding explains${proved ? ", although all weights agree: the graphs differ" : ""}`,
    );
  }
  if (reasons.length > 0) return { word: "DIFFERENT", formats, reasons };
  return equalOrUndecided(weights, whole);
}

function changedTensors({ others }: WeightCertificate): readonly DifferentTensor[] {
  return others.different.filter((tensor) => !tensor.lowered);
}

/**
 * A name alone says little where the training form has tensors that the deploy form has not: what they made up may have
 * been folded into a tensor that kept its name (ECBSR's fused kernel is called like its 3×3 branch).
 */
function namesAreSure({ others }: WeightCertificate): boolean {
  return others.missing.length === 0;
}

function equalOrUndecided(
  weights: WeightCertificate,
  whole: FunctionCertificate | undefined,
): Verdict {
  const { blocks, others } = weights;
  const open = openQuestions(weights);
  const nothingCompared = blocks.length === 0 && others.equal.length === 0;
  // What only the deploy file holds counts where no block accounts for it.
  const unaccounted = nothingCompared || (blocks.length === 0 && others.surplus.length > 0);
  if (whole?.passed && (open.length > 0 || unaccounted)) {
    return {
      word: "EQUAL-UP-TO-ROUNDING",
      formats: [],
      reasons: [
        "the outputs differ by no more than one rounding of every parameter explains",
        ...open.map((question) => `${question} (one side may have folded more than the other)`),
      ],
    };
  }
  if (open.length > 0 || unaccounted) {
    return {
      word: "UNDECIDED",
      formats: [],
      reasons: [
        ...open,
        nothingCompared || blocks.length === 0
          ? "no multi-branch block is known in the training file, and there is no graph to run"
          : "all blocks that can be compared agree",
      ],
    };
  }
  if (blocks.length === 0) {
    return {
      word: "EXACT-FOLD",
      formats: [],
      reasons: ["both files hold the same tensors, bit by bit"],
    };
  }
  return blocks.every((block) => block.status === "exact")
    ? {
        word: "EXACT-FOLD",
        formats: [],
        reasons: ["every deploy weight is the exact fused weight, correctly rounded"],
      }
    : {
        word: "EQUAL-UP-TO-ROUNDING",
        formats: [],
        reasons: ["every deploy weight lies within the roundings that an ordinary fuse makes"],
      };
}

/** What certificate A could not compare. */
function openQuestions(weights: WeightCertificate): string[] {
  const { blocks, others } = weights;
  const unmatched = blocks.filter((block) => block.status === "unmatched");
  const questions: string[] = [];
  if (unmatched.length > 0) {
    questions.push(
      `${plural(unmatched.length, "block")} of ${blocks.length} cannot be matched with a deploy kernel: ${names(unmatched)}`,
    );
  }
  if (others.missing.length > 0) {
    const listed = names(others.missing.map((name) => ({ name })));
    questions.push(
      `${plural(others.missing.length, "tensor")} of the training form cannot be found in the deploy file: ${listed}`,
    );
  }
  const changed = changedTensors(weights);
  if (changed.length > 0 && !namesAreSure(weights)) {
    questions.push(
      `${plural(changed.length, "tensor")} of the same name differ, and others that may have been folded into them are gone: ${names(changed)}`,
    );
  }
  return questions;
}

/** One format that explains everything that was lowered, if there is one; else each by itself. */
function lowerFormats({ blocks, others }: WeightCertificate): LowerFormat[] {
  const fits = [
    ...blocks.flatMap((block) => (block.lowered ? [block.lowered.fits] : [])),
    ...others.different.flatMap((tensor) => (tensor.lowered ? [tensor.fits] : [])),
  ];
  const common = fits[0]?.find((format) => fits.every((formats) => formats.includes(format)));
  return common ? [common] : [...new Set(fits.map((formats) => formats[0]!))];
}

function plural(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

function differ({ length }: readonly unknown[]): string {
  return length === 1 ? "differs" : "differ";
}

function names(items: readonly { readonly name: string }[]): string {
  const shown = items.slice(0, 4).map((item) => item.name);
  return items.length > 4 ? `${shown.join(", ")} and ${items.length - 4} more` : shown.join(", ");
}
