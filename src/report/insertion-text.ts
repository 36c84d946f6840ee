/** @file What `reparam insert` prints: the blocks, what stayed and why, what was assumed, the verdict. */

import { groupBlocks, groupBranches, groupChannels } from "./block-groups.ts";
import {
  alignColumns,
  formatBytes,
  formatCount,
  formatNumber,
  listNames,
  plural,
  shorten,
  wrap,
} from "./format.ts";
import type { InsertionResult } from "./insertion-result.ts";
import { PLAIN, type Style } from "./style.ts";
import { blockOmega, verdictLines } from "./verdict-text.ts";

const BLOCK_NAMES: Readonly<Record<InsertionResult["block"], string>> = {
  repvgg: "RepVGG",
  mobileone: "MobileOne",
  acnet: "ACNet",
  dbb: "Diverse Branch",
};

export function insertionText(result: InsertionResult, style: Style = PLAIN): string[] {
  return [
    `${style.bold(result.input.path)}  ${formatBytes(result.input.sizeBytes)}`,
    "",
    ...blockLines(result, style),
    ...leftLines(result, style),
    ...assumptionLines(result, style),
    "",
    ...proofLines(result, style),
    "",
    ...writtenLines(result, style),
  ];
}

function blockLines(result: InsertionResult, style: Style): string[] {
  const { blocks, block, parameters } = result;
  const facts = blocks.map((one) => ({
    ...one,
    weightShape: [one.outC, one.inC / one.group, ...one.kernelShape],
  }));
  const rows = groupBlocks(facts).map((group) => [
    `  ${shorten(group.label, 24)}`,
    `${group.blocks.length}`,
    groupChannels(group),
    groupBranches(group),
  ]);
  const kept = blocks.filter((one) => one.batchNorm !== undefined).length;
  return [
    style.bold(`Put in ${plural(blocks.length, `${BLOCK_NAMES[block]} block`)}`),
    ...alignColumns(rows, "lr"),
    "",
    ...alignColumns([
      ["  batch norms", `${kept} of ${blocks.length} blocks took the one that followed`],
      [
        "  statistics",
        result.fresh
          ? `start anew (${result.fresh})`
          : result.calibrated
            ? "from the calibration data"
            : "kept for the dense branches, guessed for the others",
      ],
      ["  parameters", `${formatCount(parameters.before)} → ${formatCount(parameters.after)}`],
    ]),
  ];
}

/** Most reasons shown; `--json` has all of them. */
const MAX_REASONS = 8;

function leftLines({ blocks, leftAlone }: InsertionResult, style: Style): string[] {
  const lines: string[] = [];
  const branches = byReason(
    blocks.flatMap(({ name, leftOut }) =>
      leftOut.map(({ branch, reason }) => ({ name, reason: `no ${branch}: ${reason}` })),
    ),
  );
  const alone = byReason(leftAlone);
  if (alone.length > 0) {
    lines.push("", style.bold(`Left alone: ${plural(leftAlone.length, "convolution")}`));
    lines.push(...reasonLines(alone));
  }
  if (branches.length > 0) {
    lines.push("", style.bold("Branches left out"), ...reasonLines(branches));
  }
  return lines;
}

function byReason(
  items: readonly { readonly name: string; readonly reason: string }[],
): [reason: string, names: string[]][] {
  const reasons = new Map<string, string[]>();
  for (const { name, reason } of items) reasons.set(reason, [...(reasons.get(reason) ?? []), name]);
  return [...reasons];
}

function reasonLines(reasons: readonly [string, string[]][]): string[] {
  const shown = reasons.slice(0, MAX_REASONS);
  const more = reasons.length - shown.length;
  return [
    ...shown.flatMap(([reason, names]) =>
      wrap(`${listNames(names, 3)}: ${reason}`, "  · ", "    "),
    ),
    ...(more > 0 ? [`  … and ${plural(more, "other reason")}; --json has all of them`] : []),
  ];
}

function assumptionLines({ assumptions }: InsertionResult, style: Style): string[] {
  if (assumptions.length === 0) return [];
  return [
    "",
    style.bold("Assumed, as a checkpoint does not say it"),
    ...assumptions.flatMap(({ text, convs }) =>
      wrap(`${listNames(convs, 3)}: ${text}`, "  · ", "    "),
    ),
  ];
}

function proofLines({ verification, fresh }: InsertionResult, style: Style): string[] {
  if (!verification) {
    return [
      style.warn("ANOTHER FUNCTION"),
      ...wrap(`The blocks start anew, as --fresh ${fresh} asked for: train before use.`, "  "),
    ];
  }
  const { verdict, weights, whole, wholeSkipped } = verification;
  const proved = verdict.word === "EXACT-FOLD" || verdict.word === "EQUAL-UP-TO-ROUNDING";
  if (!proved) return verdictLines(verdict, style);
  const omega = Math.max(0, ...weights.blocks.map(blockOmega));
  const closeness =
    omega === 0 ? "bit by bit" : `within ω = ${formatNumber(omega)} roundings of each number`;
  const lines = [
    style.good(verdict.word),
    ...wrap(`The blocks fuse back to the original kernels, ${closeness}.`, "  "),
  ];
  for (const output of whole?.outputs ?? []) {
    lines.push(
      ...wrap(
        `Output ${output.name} moves ${formatNumber(output.ratio)} times as far as one rounding of every parameter moves it.`,
        "  ",
      ),
    );
  }
  if (!whole && wholeSkipped) lines.push(...wrap(`Not run as a whole: ${wholeSkipped}.`, "  "));
  return [...lines, "  Checked on the file as written, read back before it got its name."];
}

function writtenLines(result: InsertionResult, style: Style): string[] {
  if (!result.published) {
    return [style.bad("Nothing was written: the result is not the same function.")];
  }
  const { output, family } = result;
  const lines = [`Written to ${style.bold(output.path)}, ${formatBytes(output.sizeBytes)}`];
  if (family) {
    lines.push(...wrap(`For ${family.loads}. Fuse it back with --family ${family.name}.`, "  "));
  }
  return lines;
}
