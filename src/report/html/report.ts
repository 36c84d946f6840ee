/**
 * @file One result as one HTML document that needs nothing else: no script, no request, no font. Opens from disk, prints
 * well; the same result gives the same bytes.
 */

import type { CauseRow } from "../../diagnose/causes.ts";
import type { Finding } from "../../diagnose/finding.ts";
import type { NoisePoint } from "../../verify/noise-floor.ts";
import { formatBytes } from "../format.ts";
import type { ConversionResult, FileFacts, TrainingResult, VerificationResult } from "../result.ts";
import { conversionMarkup } from "./conversion-markup.ts";
import { curveMarkup } from "./curve-markup.ts";
import { curveOf } from "./curve-view.ts";
import { findingsMarkup, findingViews } from "./findings-markup.ts";
import { formatNumber } from "./format.ts";
import { element, escapeText } from "./markup.ts";
import { noiseFigure } from "./noise-figure.ts";
import { REPORT_STYLE } from "./style.ts";
import { outputsMarkup, verdictMarkup } from "./verdict-markup.ts";
import { verdictView } from "./verdict-view.ts";

export type ReportSubject =
  | {
      readonly command: "verify";
      readonly result: VerificationResult;
      /** The error of both forms by depth, where it was measured. */
      readonly noise?: readonly NoisePoint[];
    }
  | {
      readonly command: "diagnose";
      readonly result: Omit<VerificationResult, "golden"> & {
        readonly findings: readonly Finding[];
      };
      /** `CAUSES` of the diagnosis. */
      readonly causes: Readonly<Record<Finding["cause"], CauseRow>>;
      readonly noise?: readonly NoisePoint[];
    }
  | { readonly command: "convert"; readonly result: ConversionResult }
  | { readonly command: "train"; readonly result: TrainingResult };

/** The document. */
export function renderReport(subject: ReportSubject): string {
  const { title, body } = contentOf(subject);
  return [
    "<!doctype html>",
    '<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    // Nothing may be loaded, whatever a file name or a tensor name holds.
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    element("title", {}, escapeText(title)),
    `<style>${REPORT_STYLE}</style></head><body><main>`,
    element("h1", {}, escapeText(title)),
    body,
    '<p class="soft">Made by reparam. ω counts float32 roundings; the verdict has no tuned tolerance.</p>',
    "</main></body></html>\n",
  ].join("\n");
}

function contentOf(subject: ReportSubject): { title: string; body: string } {
  switch (subject.command) {
    case "verify":
      return comparison(subject.result, "", subject.noise, golden(subject.result));
    case "diagnose": {
      const views = findingViews(subject.result.findings, subject.causes);
      const found = views.length === 0 ? "" : section("Why they differ", findingsMarkup(views));
      return comparison(subject.result, found, subject.noise, "");
    }
    case "convert": {
      const { input, output, verification } = subject.result;
      const verdict = verification ? verdictMarkup(verdictView(verification)) : "";
      return {
        title: `${fileName(input.path)} in deploy form`,
        body:
          files([
            ["read", input],
            ["written", output],
          ]) +
          verdict +
          conversionMarkup(subject.result),
      };
    }
    case "train":
      return training(subject.result);
  }
}

function comparison(
  { training: a, deploy: b, verification }: Omit<VerificationResult, "golden">,
  findings: string,
  noise: readonly NoisePoint[] = [],
  recorded: string,
): { title: string; body: string } {
  const view = verdictView(verification);
  return {
    title: `${fileName(a.path)} and ${fileName(b.path)}`,
    body: [
      files([
        ["training form", a],
        ["deploy form", b],
      ]),
      verdictMarkup(view),
      findings,
      outputsMarkup(view),
      noiseFigure(noise),
      recorded,
    ].join(""),
  };
}

function golden({ golden: recorded }: VerificationResult): string {
  if (!recorded) return "";
  const row = (label: string, error: number, snr: number): string =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, label) +
        element("td", { class: "number" }, formatNumber(error)) +
        element(
          "td",
          { class: "number" },
          Number.isFinite(snr) ? `${snr.toFixed(1)} dB` : "identical",
        ),
    );
  const { training: a, deploy: b, output } = recorded;
  const head = `<thead><tr><th scope="col">against the</th><th scope="col" class="number">relative error</th><th scope="col" class="number">SNR</th></tr></thead>`;
  const body =
    row("training form", a.relativeL2, a.snrDb) + row("deploy form", b.relativeL2, b.snrDb);
  const caption = `The output recorded for <code>${escapeText(output)}</code>, compared with both forms run in float64.`;
  return section(
    "The recorded output",
    `<table><caption>${caption}</caption>${head}<tbody>${body}</tbody></table>`,
  );
}

function training(result: TrainingResult): { title: string; body: string } {
  const { net, data, output, deploy, accuracy, history, verification } = result;
  const percent = (count: number): string =>
    `${((100 * count) / Math.max(1, accuracy.count)).toFixed(2)} %`;
  const listed: [string, FileFacts][] = [["training form", output]];
  if (deploy) listed.push(["deploy form", deploy]);
  const scores =
    `Of ${accuracy.count} ${accuracy.split} images the training form classifies ${percent(accuracy.training)} right, the deploy form ` +
    `${percent(accuracy.deploy)}; both put ${accuracy.sameClass} of them into the same class.`;
  return {
    title: `${fileName(net)} trained on ${fileName(data.path)}`,
    body: [
      files(listed),
      element("p", { class: "lead" }, escapeText(scores)),
      history.length === 0 ? "" : section("The run", curveMarkup(curveOf(net, history))),
      section("Training form and deploy form", verdictMarkup(verdictView(verification))),
    ].join(""),
  };
}

function files(list: readonly (readonly [label: string, file: FileFacts])[]): string {
  const rows = list.map(
    ([label, { path, sizeBytes }]) =>
      element("dt", {}, label) +
      element("dd", {}, `${element("code", {}, escapeText(path))} ${formatBytes(sizeBytes)}`),
  );
  return element("dl", { class: "facts" }, rows.join(""));
}

function section(heading: string, body: string): string {
  return element("section", {}, element("h2", {}, escapeText(heading)) + body);
}

function fileName(path: string): string {
  return path.split(/[/\\]/).at(-1) || path;
}
