/** @file What `reparam diagnose` prints: the verdict, then one paragraph per cause, then the numbers about numbers. */

import type { CauseId } from "../diagnose/causes.ts";
import type { Effect, Evidence, Finding } from "../diagnose/finding.ts";
import type { ChannelNote, Numerics } from "../diagnose/numerics.ts";
import { causeAnchor, type DiagnosisResult } from "./diagnosis-json.ts";
import { alignColumns, formatBytes, formatNumber, listNames, wrap } from "./format.ts";
import { PLAIN, type Style } from "./style.ts";
import { verdictLines } from "./verdict-text.ts";

/** Titles by cause; passed in, because this room takes only types from the diagnosis. */
export type CauseTitles = Readonly<Record<CauseId, { readonly title: string }>>;

export function diagnosisText(
  { training, deploy, diagnosis }: DiagnosisResult,
  causes: CauseTitles,
  style: Style = PLAIN,
): string[] {
  const { verification, findings, numerics } = diagnosis;
  const lines = [
    `training  ${style.bold(training.path)}  ${formatBytes(training.sizeBytes)}`,
    `deploy    ${style.bold(deploy.path)}  ${formatBytes(deploy.sizeBytes)}`,
    "",
    ...verdictLines(verification.verdict, style),
    "",
  ];
  if (findings.length === 0) lines.push(...nothingFound(diagnosis), "");
  for (const [i, finding] of findings.entries()) {
    lines.push(...findingLines(finding, i + 1, causes, style), "");
  }
  if (numerics) lines.push(...numericsLines(numerics, style));
  return lines.at(-1) === "" ? lines.slice(0, -1) : lines;
}

function nothingFound({ verification }: DiagnosisResult["diagnosis"]): string[] {
  const { word } = verification.verdict;
  if (word === "EXACT-FOLD" || word === "EQUAL-UP-TO-ROUNDING") {
    return wrap("No fault was found: the deploy form is the training form.", "");
  }
  return wrap(
    "No cause was found for what could not be compared; the verdict above says what that is.",
    "",
  );
}

function findingLines(
  finding: Finding,
  number: number,
  causes: CauseTitles,
  style: Style,
): string[] {
  const { cause, detail, blocks, confidence, evidence, effect, fix } = finding;
  const mark = confidence === "proved" ? style.bad("proved") : style.warn("consistent");
  return [
    `${style.bold(`${number}. ${capital(causes[cause].title)}`)}  ${mark}`,
    ...(detail === "" ? [] : wrap(detail, "   ")),
    ...(blocks.length === 0
      ? []
      : wrap(
          `in ${listNames(blocks)}${blocks.length > 1 ? ` (${blocks.length} in all)` : ""}`,
          "   ",
        )),
    ...proofLines(evidence, confidence),
    ...effectLines(effect),
    ...wrap(fix, "   → ", "     "),
    style.dim(`     ${causeAnchor(cause)}`),
  ];
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** ω before and after, where a hypothesis was put into the fuse; else the telling numbers. */
function proofLines(evidence: Evidence, confidence: Finding["confidence"]): string[] {
  const { omegaBefore, omegaAfter, k } = evidence;
  if (typeof omegaBefore === "number" && typeof omegaAfter === "number") {
    const limit = typeof k === "number" ? ` (limit ${k})` : "";
    return wrap(
      `With this fault in the exact fuse, ω falls from ${formatNumber(omegaBefore)} to ${formatNumber(omegaAfter)}${limit}.`,
      "   ",
    );
  }
  if (confidence === "proved") return [];
  const told = Object.entries(evidence).filter(
    (entry): entry is [string, number] => typeof entry[1] === "number" && Number.isFinite(entry[1]),
  );
  if (told.length === 0) return [];
  return wrap(
    `Known: ${told.map(([name, value]) => `${words(name)} ${formatNumber(value)}`).join(", ")}.`,
    "   ",
  );
}

/** `relativeL2Before` → `relative l2 before` */
function words(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, "$1 $2").toLowerCase();
}

function effectLines(effect: Effect | undefined): string[] {
  if (!effect) return [];
  const { relativeL2, maxAbsError, top1Agreement } = effect;
  const labels =
    top1Agreement === undefined ? "" : `, top-1 agrees in ${formatNumber(100 * top1Agreement)} %`;
  return wrap(
    `At the output this alone moves ${formatNumber(relativeL2)} of its size (at most ${formatNumber(maxAbsError)})${labels}.`,
    "   ",
  );
}

function numericsLines(numerics: Numerics, style: Style): string[] {
  const { matters, growth, cancellation, nearlyDead, halfOverflow, halfLost } = numerics;
  const rows: string[][] = [];
  const note = ({ block, channel }: ChannelNote): string => `${block}, filter ${channel}`;
  const [strongest] = cancellation;
  if (strongest) {
    rows.push([
      "  branches cancel",
      `κ at most ${formatNumber(strongest.value)} (${note(strongest)})`,
    ]);
  }
  if (nearlyDead.length > 0) {
    rows.push([
      "  near-dead filters",
      `${note(nearlyDead[0]!)}${nearlyDead.length > 1 ? ` and ${nearlyDead.length - 1} more` : ""}`,
    ]);
  }
  rows.push([
    "  in float16",
    halfOverflow.length > 0
      ? `overflows in ${listNames(halfOverflow.map(({ block }) => block))}`
      : `no overflow; ${formatNumber(100 * halfLost)} % of the weights become 0`,
  ]);
  const [first, last] = [growth[0], growth.at(-1)];
  if (first && last && growth.length > 1) {
    rows.push([
      "  rounding by depth",
      `${formatNumber(first.relativeL2)} after the first part, ${formatNumber(last.relativeL2)} after the last (${growth.length})`,
    ]);
  }
  return [
    style.bold("Numbers, training form"),
    ...alignColumns(rows),
    ...(matters === undefined ? [] : ["", ...wrap(matters, "")]),
  ];
}
