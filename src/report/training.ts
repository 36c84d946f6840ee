/** @file What `reparam train` prints at the end, as text and as JSON. */

import { formatBytes, formatCount, listNames, plural, wrap } from "./format.ts";
import type { TrainingResult } from "./result.ts";
import { PLAIN, type Style } from "./style.ts";
import { verdictLines } from "./verdict-text.ts";
import { verificationPart } from "./verification-json.ts";

export function trainingText(result: TrainingResult, style: Style = PLAIN): string[] {
  const { net, data, output, deploy, accuracy, skipped, verification } = result;
  const percent = (correct: number): string =>
    `${((100 * correct) / Math.max(accuracy.count, 1)).toFixed(2)} %`;
  const lines = [
    ...wrap(
      `${net} trained on ${formatCount(data.samples)} images of ${data.path}, ${plural(result.epochs, "epoch")}.`,
      "",
    ),
    `Accuracy on ${formatCount(accuracy.count)} ${accuracy.split} images`,
    `  training form  ${percent(accuracy.training)}`,
    `  deploy form    ${percent(accuracy.deploy)}, same class on ${formatCount(accuracy.sameClass)}`,
    ...verdictLines(verification.verdict, style),
    `Written to ${style.bold(output.path)}, ${formatBytes(output.sizeBytes)}`,
  ];
  if (deploy)
    lines.push(`Deploy form in ${style.bold(deploy.path)}, ${formatBytes(deploy.sizeBytes)}`);
  if (skipped.length > 0) {
    const told = `${plural(skipped.length, "image")} could not be decoded: ${listNames(skipped)}`;
    lines.push(...wrap(told, "").map((line) => style.warn(line)));
  }
  return lines;
}

export function trainingJson(result: TrainingResult): object {
  const { verification, history, ...rest } = result;
  return {
    schema: "reparam.train/1",
    ...rest,
    deploy: result.deploy ?? null,
    history: history.filter((record) => record.type === "epoch"),
    ...verificationPart(verification),
  };
}
