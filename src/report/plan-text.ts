/** @file What `reparam plan` prints: the regions with their cost, then what is refused and why. */

import { nodeLabel } from "../ir/graph.ts";
import type { Refusal, Region } from "../rewrite/plan.ts";
import { formatBranches, formatKernel } from "./block-groups.ts";
import { blockFacts, regionFacts } from "./conversion-text.ts";
import {
  alignColumns,
  clip,
  formatBytes,
  formatCount,
  LINE_WIDTH,
  listNames,
  plural,
  shorten,
  wrap,
} from "./format.ts";
import type { PlanResult } from "./result.ts";
import { PLAIN, type Style } from "./style.ts";

export function planText(result: PlanResult, style: Style = PLAIN): string[] {
  const head = `${style.bold(result.input.path)}  ${formatBytes(result.input.sizeBytes)}`;
  return [
    head,
    "",
    ...(result.kind === "onnx" ? onnxLines(result, style) : checkpointLines(result, style)),
  ];
}

const MAX_NAME = 22;
/** Fewer characters of a branch say nothing. */
const MIN_BRANCHES = 14;

/** `6`, or of weight and bias `6, 7`. */
function formatRoundings({ affine }: Region): string {
  const { weight, bias } = affine.roundings;
  return weight === bias ? `${weight}` : `${weight}, ${bias}`;
}

function onnxLines({ plan }: PlanResult & { kind: "onnx" }, style: Style): string[] {
  const facts = plan.regions.map(regionFacts);
  const rowsWith = (branches: readonly string[]): string[][] =>
    plan.regions.map((region, i) => [
      `  ${shorten(facts[i]!.name, MAX_NAME)}`,
      `${region.nodes.length}`,
      ...(branches[i] === undefined ? [] : [branches[i]]),
      formatKernel(facts[i]!),
      formatRoundings(region),
      `${formatCount(region.before.macs)} → ${formatCount(region.after.macs)}`,
    ]);
  const table = (branches: readonly string[]): string[] => {
    const what = branches.length === 0 ? [] : ["branches"];
    const head = ["", "nodes", ...what, "becomes", "k", "multiply-adds"];
    return alignColumns([head, ...rowsWith(branches)], branches.length === 0 ? "lrlrr" : "lrllrr");
  };
  // What the other columns leave of a line; nothing where that is too little to say something.
  const taken =
    Math.max(...table(facts.map(() => "")).map((line) => line.length)) - "branches".length;
  const room = LINE_WIDTH - taken;
  const branches = facts.map((one) => clip(formatBranches(one.branches), room));
  const sum = (side: "before" | "after", what: "macs" | "parameters"): number =>
    plan.regions.reduce((total, region) => total + region[side][what], 0);
  const legend = ["  k: roundings that an ordinary float32 fuse makes in a weight, in a bias"];
  const totals = alignColumns([
    [
      "  kernel numbers",
      `${formatCount(sum("before", "parameters"))} → ${formatCount(sum("after", "parameters"))}`,
    ],
    [
      "  multiply-adds per output position",
      `${formatCount(sum("before", "macs"))} → ${formatCount(sum("after", "macs"))}`,
    ],
  ]);
  return [
    style.bold(`${plural(plan.regions.length, "region")} to fuse`),
    ...(facts.length === 0
      ? []
      : [...table(room < MIN_BRANCHES ? [] : branches), "", ...totals, ...legend]),
    ...refusalLines(plan.refusals, style),
  ];
}

function refusalLines(refusals: readonly Refusal[], style: Style): string[] {
  if (refusals.length === 0) return [];
  return [
    "",
    style.bold(
      `${plural(refusals.length, "place")} left as ${refusals.length === 1 ? "it is" : "they are"}`,
    ),
    ...refusals.flatMap(({ output, nodes, reason }) => [
      ...wrap(`${output}: ${reason}`, "  · ", "    "),
      ...(nodes.length > 1 ? wrap(listNames(nodes.map(nodeLabel)), "    ") : []),
    ]),
  ];
}

function checkpointLines(
  { plan, layout }: PlanResult & { kind: "checkpoint" },
  style: Style,
): string[] {
  const blocks = plan.blocks.map((block) => ({ block, facts: blockFacts(block, layout) }));
  const rowsWith = (branches: readonly string[]): string[][] =>
    blocks.map(({ block, facts }, i) => [
      `  ${shorten(facts.name, 28)}`,
      block.match.family.name,
      branches[i]!,
      `→ ${formatKernel(facts)}`,
    ]);
  const without = alignColumns(rowsWith(blocks.map(() => "")));
  const room = LINE_WIDTH - Math.max(0, ...without.map((line) => line.length));
  const rows = rowsWith(blocks.map(({ facts }) => clip(formatBranches(facts.branches), room)));
  return [
    style.bold(`${plural(plan.blocks.length, "block")} to fuse`),
    ...alignColumns(rows),
    `  ${plural(plan.passed.length, "other tensor")} pass through bit-equal`,
    ...(plan.dropped.length > 0 ? [`  left out: ${listNames(plan.dropped)}`] : []),
    ...plan.notes.flatMap((note) => wrap(note, "  · ", "    ")),
  ];
}
