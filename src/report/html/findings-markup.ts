/** @file The findings of a diagnosis: what went wrong, where, how sure that is, what to do. */

import type { CauseRow } from "../../diagnose/causes.ts";
import type { Finding } from "../../diagnose/finding.ts";
import { plural } from "../format.ts";
import { formatNumber } from "./format.ts";
import { element, escapeText } from "./markup.ts";

/** A finding with its cause in words; plain data. */
export interface FindingView {
  readonly title: string;
  readonly cause: string;
  readonly detail: string;
  readonly blocks: readonly string[];
  readonly confidence: Finding["confidence"];
  /** Relative change of the outputs by this fault alone, where it was measured. */
  readonly effect: number | undefined;
  readonly fix: string;
}

/** Blocks listed before "and n more". */
const MAX_BLOCKS = 8;

const CONFIDENCE: Readonly<Record<Finding["confidence"], string>> = {
  proved: "Proved: with this fault put into the exact fuse, every number is explained.",
  consistent: "Consistent: everything seen fits, but other explanations are not excluded.",
};

export function findingViews(
  findings: readonly Finding[],
  causes: Readonly<Partial<Record<Finding["cause"], CauseRow>>>,
): FindingView[] {
  return findings.map(({ cause, detail, blocks, confidence, effect, fix }) => ({
    title: causes[cause]?.title ?? cause,
    cause,
    detail,
    blocks,
    confidence,
    effect: effect?.relativeL2,
    fix,
  }));
}

export function findingsMarkup(findings: readonly FindingView[]): string {
  return findings.map(findingMarkup).join("");
}

function findingMarkup(view: FindingView): string {
  const { title, cause, detail, blocks, confidence, effect, fix } = view;
  const tone = confidence === "proved" ? "tone-bad" : "tone-unsure";
  const moved =
    effect === undefined
      ? ""
      : ` It alone moves the outputs by ${formatNumber(effect)} of their length.`;
  const parts = [
    element("h3", {}, escapeText(title.charAt(0).toUpperCase() + title.slice(1))),
    element("p", {}, escapeText(detail)),
    blocks.length > 0 &&
      element("p", {}, `At ${plural(blocks.length, "place")}: ${listed(blocks)}.`),
    element("p", { class: "soft" }, escapeText(CONFIDENCE[confidence] + moved)),
    element("p", {}, `<b>What to do.</b> ${escapeText(fix)}`),
  ];
  return element(
    "section",
    { class: `finding ${tone}`, "data-cause": cause },
    parts.filter((part) => part !== false).join(""),
  );
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, MAX_BLOCKS).map((name) => element("code", {}, escapeText(name)));
  const rest = names.length - shown.length;
  return shown.join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}
