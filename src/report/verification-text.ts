/** @file What `reparam verify` prints: the verdict, the certificates, the outputs in words, the worst blocks. */

import { formatShape } from "../core/tensor.ts";
import type { FunctionCertificate, OutputCertificate } from "../verify/function.ts";
import type { GoldenComparison } from "../verify/golden.ts";
import type { OutputMetrics } from "../verify/metrics.ts";
import type { BlockCertificate, WeightCertificate } from "../verify/weights.ts";
import { alignColumns, formatBytes, formatNumber, plural, shorten, wrap } from "./format.ts";
import type { VerificationResult } from "./result.ts";
import { PLAIN, type Style } from "./style.ts";
import { blockOmega, blockSeverity, verdictLines, weightLines } from "./verdict-text.ts";

/** Blocks listed under "farthest from exact". */
const WORST_BLOCKS = 5;

export function verificationText(result: VerificationResult, style: Style = PLAIN): string[] {
  const { verification, training, deploy, golden } = result;
  const { verdict, weights, whole, wholeSkipped } = verification;
  const lines = [
    `training  ${style.bold(training.path)}  ${formatBytes(training.sizeBytes)}`,
    `deploy    ${style.bold(deploy.path)}  ${formatBytes(deploy.sizeBytes)}`,
    "",
    ...verdictLines(verdict, style),
    "",
    style.bold("Weights, each against the exact fused one"),
    ...weightLines(weights),
    ...(weights.blocks.length === 0 ? ["  No block with several branches was found."] : []),
    "",
    ...(whole ? wholeLines(whole, style) : skippedLines(wholeSkipped, style)),
    ...(golden ? goldenLines(golden, style) : []),
    ...worstLines(weights, style),
    ...notes(result, style),
  ];
  return lines.at(-1) === "" ? lines.slice(0, -1) : lines;
}

function skippedLines(reason: string | undefined, style: Style): string[] {
  return [style.bold("Whole network, not run"), ...wrap(`${reason ?? "weights only"}.`, "  "), ""];
}

function wholeLines(whole: FunctionCertificate, style: Style): string[] {
  const inputs = whole.inputs.map(({ name, shape }) => `${name} ${formatShape(shape)}`).join(", ");
  return [
    style.bold(`Whole network on ${inputs}`),
    ...(whole.outputMismatch === undefined ? [] : wrap(`${whole.outputMismatch}.`, "  ")),
    ...whole.outputs.flatMap((output) => outputLines(output, whole)),
    `  ${whole.runtime}`,
    "",
  ];
}

function outputLines(output: OutputCertificate, whole: FunctionCertificate): string[] {
  const { metrics, noiseFloor } = output;
  const moved = `In float64 output ${output.name} ${movement(output, whole.replicas)}`;
  return [
    ...wrap(moved, "  "),
    ...wrap(`${decisionSentence(output)}`, "  ").filter((line) => line.trim() !== ""),
    ...alignColumns([
      [
        "  largest change",
        `${formatNumber(metrics.maxAbsError)} of values up to ${formatNumber(metrics.maxAbs)} (float32)`,
      ],
      [
        "  relative L2",
        `${formatNumber(metrics.relativeL2)}; the training form alone is ${formatNumber(noiseFloor)} off the truth`,
      ],
      ["  signal to noise", snr(metrics)],
    ]),
  ];
}

/** How far the conversion alone moves an output, and how far rounding may. */
function movement(
  { conversionError, noiseMax, ratio }: OutputCertificate,
  replicas: number,
): string {
  if (conversionError === 0) return "is the same in both forms, bit by bit.";
  const moves = `moves by ${formatNumber(conversionError)} (rms).`;
  // The weights were proved to have taken up to so many roundings; 1 where nothing is proved.
  const roundings = Math.round(conversionError / (ratio * noiseMax));
  const explained = `One rounding of every parameter moves it by up to ${formatNumber(noiseMax)} (${replicas} tries)`;
  if (!(ratio <= 1)) {
    return `${moves} ${explained}: rounding does not explain ${formatNumber(ratio)} times that.`;
  }
  return roundings > 1
    ? `${moves} ${explained}; the weights took up to ${roundings}, which explains it.`
    : `${moves} ${explained}, which explains it.`;
}

function decisionSentence({ decisions }: OutputCertificate): string {
  if (!decisions) return "";
  const { agreeing, total, smallestMargin, largestChange } = decisions;
  const flips =
    largestChange === 0
      ? "no label can flip"
      : `a label can flip only if its margin is below ${formatNumber(2 * largestChange)}; smallest margin seen ${formatNumber(smallestMargin)}`;
  return `Top-1 agrees in ${agreeing} of ${total}: ${flips}.`;
}

function snr({ snrDb }: OutputMetrics): string {
  return Number.isFinite(snrDb) ? `${snrDb.toFixed(1)} dB` : "∞ (equal)";
}

function goldenLines(golden: GoldenComparison, style: Style): string[] {
  const row = (name: string, metrics: OutputMetrics): string[] => [
    `  ${name}`,
    `relative L2 ${formatNumber(metrics.relativeL2)}`,
    `largest change ${formatNumber(metrics.maxAbsError)}`,
  ];
  return [
    style.bold(`Recorded output against ${golden.output}, in float64`),
    ...alignColumns([row("training form", golden.training), row("deploy form", golden.deploy)]),
    "",
  ];
}

function worstLines({ blocks }: WeightCertificate, style: Style): string[] {
  const inexact = blocks.filter((block) => block.status !== "exact");
  if (inexact.length === 0) return [];
  const worst = [...inexact]
    .sort((a, b) => blockSeverity(b) - blockSeverity(a))
    .slice(0, WORST_BLOCKS);
  const rows = worst.map((block) => [
    `  ${shorten(block.name, 32)}`,
    block.deviation ? `ω ${formatNumber(blockOmega(block))}` : "",
    `k ${Math.max(block.k.weight, block.k.bias)}`,
    STATUS[block.status],
    where(block),
  ]);
  const rest = inexact.length - worst.length;
  return [
    style.bold("Farthest from exact"),
    ...alignColumns(rows),
    ...(rest > 0 ? [`  and ${plural(rest, "block")} more, nearer`] : []),
  ];
}

const STATUS: Readonly<Record<BlockCertificate["status"], string>> = {
  exact: "exact",
  rounding: "rounding",
  lower: "lower precision",
  different: "DIFFERENT",
  unmatched: "not matched",
};

/** Where a different block differs most. */
function where({ status, deviation }: BlockCertificate): string {
  if (status !== "different" || !deviation) return "";
  const inWeight = deviation.weight.omega >= deviation.bias.omega;
  const worst = (inWeight ? deviation.weight : deviation.bias).worst;
  if (!worst) return "";
  return `${inWeight ? "weight" : "bias"}[${worst.index}] ${formatNumber(worst.found, 5)}, exact ${formatNumber(worst.expected, 5)}`;
}

function notes({ verification }: VerificationResult, style: Style): string[] {
  const { training, deploy } = verification;
  const unconverted =
    deploy.form === "training"
      ? ["the deploy file still has branches to fuse: was it converted?"]
      : [];
  const all = [...new Set([...unconverted, ...training.notes, ...deploy.notes])];
  if (all.length === 0) return [];
  return ["", style.bold("Notes"), ...all.flatMap((note) => wrap(note, "  · ", "    "))];
}
