/** @file The verdict and what it rests on, as lines of text. */

import type { Verdict, VerdictWord } from "../verify/verdict.ts";
import type { BlockCertificate, WeightCertificate } from "../verify/weights.ts";
import { formatNumber, listNames, plural, wrap } from "./format.ts";
import type { Style } from "./style.ts";

const TONE: Readonly<Record<VerdictWord, "good" | "warn" | "bad">> = {
  "EXACT-FOLD": "good",
  "EQUAL-UP-TO-ROUNDING": "good",
  "LOWER-PRECISION": "warn",
  DIFFERENT: "bad",
  UNDECIDED: "warn",
};

/** `LOWER-PRECISION(float16)` */
export function formatVerdictWord({ word, formats }: Verdict): string {
  return word === "LOWER-PRECISION" ? `${word}(${formats.join(", ")})` : word;
}

/** The word, then one line per reason. */
export function verdictLines(verdict: Verdict, style: Style): string[] {
  return [
    style[TONE[verdict.word]](formatVerdictWord(verdict)),
    ...verdict.reasons.flatMap((reason) => wrap(`${capitalized(reason)}.`, "  ")),
  ];
}

function capitalized(sentence: string): string {
  return sentence.slice(0, 1).toUpperCase() + sentence.slice(1);
}

/** Certificate A in two to four lines. */
export function weightLines({ blocks, others }: WeightCertificate): string[] {
  const lines: string[] = [];
  const compared = blocks.filter((block) => block.status !== "unmatched");
  if (compared.length > 0) lines.push(...wrap(omegaSentence(compared), "  "));
  const parts: string[] = [];
  if (others.equal.length > 0)
    parts.push(`${plural(others.equal.length, "other tensor")} bit-equal`);
  if (others.different.length > 0) {
    parts.push(
      `${others.different.length} not (${listNames(others.different.map((one) => one.name))})`,
    );
  }
  if (others.missing.length > 0)
    parts.push(`${others.missing.length} not found in the deploy file`);
  if (others.surplus.length > 0) {
    parts.push(
      `${others.surplus.length} only in the deploy file (${listNames(others.surplus, 3)})`,
    );
  }
  if (parts.length > 0) lines.push(...wrap(`${parts.join("; ")}.`, "  "));
  return lines;
}

/** `Weights of 22 blocks: at most ω = 1.0 roundings from the exact ones; an ordinary fuse makes k = 7.` */
function omegaSentence(blocks: readonly BlockCertificate[]): string {
  const omega = Math.max(...blocks.map(blockOmega));
  const ks = blocks.map((block) => Math.max(block.k.weight, block.k.bias));
  const [low, high] = [Math.min(...ks), Math.max(...ks)];
  const k = low === high ? `${low}` : `${low} to ${high}`;
  const who = blocks.length === 1 ? "1 block lies" : `${blocks.length} blocks lie`;
  return `${who} at most ω = ${formatNumber(omega)} roundings from the exact weights; an ordinary float32 fuse may take k = ${k}.`;
}

/** The larger ω of weight and bias; 0 where nothing was measured. */
export function blockOmega({ deviation }: BlockCertificate): number {
  return deviation ? Math.max(deviation.weight.omega, deviation.bias.omega) : 0;
}

/** How many k-s the block needs: above 1 is different. Larger of weight and bias. */
export function blockSeverity({ deviation, k }: BlockCertificate): number {
  if (!deviation) return 0;
  return Math.max(
    deviation.weight.omega / Math.max(1, k.weight),
    deviation.bias.omega / Math.max(1, k.bias),
  );
}
