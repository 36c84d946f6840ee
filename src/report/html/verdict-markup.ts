/** @file A verdict as a document part: the banner in plain words, ω per block, everything else, the outputs. */

import { plural } from "../format.ts";
import { formatNumber } from "./format.ts";
import { element, escapeText } from "./markup.ts";
import { omegaTable } from "./omega-table.ts";
import type { OutputRow, VerdictView } from "./verdict-view.ts";

/** Names listed before "and n more". */
const MAX_NAMES = 12;

/** The banner, ω per block, and everything else that was compared without running anything. */
export function verdictMarkup(view: VerdictView): string {
  return [banner(view), omegaFigure(view), others(view), notes(view)].join("");
}

function banner({ word, tone, headline, meaning, reasons }: VerdictView): string {
  const listed = reasons.map((reason) => element("li", {}, escapeText(sentence(reason))));
  return element(
    "div",
    { class: `verdict tone-${tone}` },
    element("p", { class: "word" }, escapeText(word)) +
      element("p", { class: "headline" }, escapeText(headline)) +
      element("p", {}, escapeText(meaning)) +
      element("ul", { class: "plain" }, listed.join("")),
  );
}

const OMEGA_CAPTION =
  "<b>ω per block.</b> How many float32 roundings the deploy weights are away from the exact fused weights, on a " +
  "logarithmic axis. The vertical mark is <i>k</i>, the number of roundings that an ordinary fuse of that block makes: " +
  "a bar that stays left of it is explained by rounding, a bar that crosses it is not.";

function omegaFigure({ blocks }: VerdictView): string {
  if (blocks.length === 0) return "";
  return element("figure", {}, omegaTable(blocks, OMEGA_CAPTION));
}

function others({ others: { equal, different, missing, surplus } }: VerdictView): string {
  const lines = [
    equal > 0 && `${plural(equal, "other tensor")} ${equal === 1 ? "is" : "are"} equal bit by bit.`,
    different.length > 0 &&
      `${plural(different.length, "other tensor")} differ${different.length === 1 ? "s" : ""}: ${names(different.map(({ name, omega }) => `${name} (ω ${formatNumber(omega)})`))}.`,
    missing.length > 0 && `Only in the training form: ${names(missing)}.`,
    surplus.length > 0 && `Only in the deploy form: ${names(surplus)}.`,
  ].filter((line) => line !== false);
  if (lines.length === 0) return "";
  const items = lines.map((line) => element("li", {}, line));
  return element("h3", {}, "All other tensors") + element("ul", { class: "plain" }, items.join(""));
}

function names(list: readonly string[]): string {
  const shown = list.slice(0, MAX_NAMES).map((name) => element("code", {}, escapeText(name)));
  const rest = list.length - shown.length;
  return shown.join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

/** What the conversion did to the outputs, or why that is not known. */
export function outputsMarkup(view: VerdictView): string {
  const heading = element("h2", {}, "The outputs");
  if (view.outputs.length === 0) {
    const why = view.outputsSkipped;
    return why ? heading + element("p", {}, escapeText(`Not compared: ${why}.`)) : "";
  }
  const head = ["output", "conversion changes", "rounding explains", "ratio", "SNR", "same top-1"];
  const columns = head
    .map((text, i) => element("th", { scope: "col", class: i === 0 ? undefined : "number" }, text))
    .join("");
  const caption =
    `Both forms were run on the same inputs in ${escapeText(view.runtime ?? "the runtime")}. <b>Conversion changes</b> is the ` +
    `root mean square difference between the two forms computed in float64; <b>rounding explains</b> is the largest change seen when ` +
    `every parameter moves by one float32 rounding, over ${view.replicas ?? 0} random draws. A ratio up to 1 means that the conversion ` +
    `did nothing that rounding does not do. SNR compares the two forms as they run in float32.`;
  const table = element(
    "table",
    { "aria-label": "Comparison of outputs" },
    `<thead><tr>${columns}</tr></thead><tbody>${view.outputs.map(outputRow).join("")}</tbody>`,
  );
  const scroll = { class: "scroll", tabindex: 0, role: "region", "aria-label": "Outputs" };
  return (
    heading +
    element("figure", {}, element("div", scroll, table) + element("figcaption", {}, caption))
  );
}

function outputRow(output: OutputRow): string {
  const { decisions } = output;
  const cells = [
    formatNumber(output.conversionError),
    formatNumber(output.noiseMax),
    formatNumber(output.ratio),
    Number.isFinite(output.snrDb) ? `${output.snrDb.toFixed(1)} dB` : "identical",
    decisions ? `${decisions.agreeing} of ${decisions.total}` : "–",
  ];
  return element(
    "tr",
    { class: output.ratio <= 1 ? "tone-good" : "tone-bad" },
    element("th", { scope: "row" }, element("code", {}, escapeText(output.name))) +
      cells.map((cell) => element("td", { class: "number" }, escapeText(cell))).join(""),
  );
}

function notes({ notes: list }: VerdictView): string {
  if (list.length === 0) return "";
  const items = list.map((note) => element("li", {}, escapeText(sentence(note))));
  return element("h3", {}, "Notes") + element("ul", { class: "plain" }, items.join(""));
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
