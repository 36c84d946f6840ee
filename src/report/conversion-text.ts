/** @file What `reparam convert` prints: what was read, what was fused, the verdict, where it was written. */

import type { FusedBlock } from "../convert/fuse-block.ts";
import type { KnownLayout } from "../convert/known-layout.ts";
import { byteLength, elementCount, type LazyTensor } from "../core/tensor.ts";
import { storedTensors } from "../ir/constant-nodes.ts";
import { commonName, describeBranches } from "../ir/describe-branches.ts";
import { isOp, type Node } from "../ir/graph.ts";
import type { Region } from "../rewrite/plan.ts";
import {
  type BlockFacts,
  certainInputs,
  groupBlocks,
  groupBranches,
  groupChannels,
  groupKernels,
} from "./block-groups.ts";
import {
  alignColumns,
  clip,
  formatBytes,
  formatCount,
  formatNumber,
  LINE_WIDTH,
  listNames,
  plural,
  shorten,
  wrap,
} from "./format.ts";
import { FORMAT_NAMES } from "./names.ts";
import type { ConversionResult } from "./result.ts";
import { PLAIN, type Style } from "./style.ts";
import { verdictLines, weightLines } from "./verdict-text.ts";

export function conversionText(result: ConversionResult, style: Style = PLAIN): string[] {
  return [
    ...headLines(result, style),
    "",
    ...fusedLines(result, style),
    ...numberLines(result),
    ...noteLines(result, style),
    "",
    ...proofLines(result, style),
    "",
    ...resultLines(result, style),
  ];
}

function headLines({ input, conversion }: ConversionResult, style: Style): string[] {
  const head = `${style.bold(input.path)}  ${sourceFormat(conversion)}, ${formatBytes(input.sizeBytes)}`;
  if (conversion.kind === "onnx") {
    const { graph } = conversion.file.model;
    return [
      head,
      `  ${plural(graph.nodes.length, "node")}, ${plural(conversion.plan.regions.length, "region")} to fuse`,
    ];
  }
  const { file, plan } = conversion;
  const facts = [
    ...(file.key === "" ? [] : [`state dict ${JSON.stringify(file.key)}`]),
    ...(file.prefix === "" ? [] : [`prefix ${file.prefix}`]),
    `${plan.form} form`,
    ...families(plan.blocks),
  ];
  return [head, ...wrap(facts.join(", "), "  ")];
}

function sourceFormat(conversion: ConversionResult["conversion"]): string {
  return conversion.kind === "onnx" ? FORMAT_NAMES.onnx : FORMAT_NAMES[conversion.file.format];
}

function families(blocks: readonly FusedBlock[]): string[] {
  const names = [...new Set(blocks.map((block) => block.match.family.title))];
  return names.length === 0 ? [] : [`blocks of ${names.join(" and ")}`];
}

function fusedLines({ conversion, layout }: ConversionResult, style: Style): string[] {
  const blocks =
    conversion.kind === "onnx"
      ? conversion.plan.regions.map(regionFacts)
      : conversion.plan.blocks.map((block) => blockFacts(block, layout));
  if (blocks.length === 0) return [style.bold("Nothing to fuse")];
  const groups = groupBlocks(blocks);
  const rowsWith = (branches: readonly string[]): string[][] =>
    groups.map((group, i) => [
      `  ${shorten(group.label, 24)}`,
      `${group.blocks.length}`,
      groupChannels(group),
      branches[i]!,
      `→ ${groupKernels(group)}`,
    ]);
  const looks = groups.map(groupBranches);
  // What the other columns leave of a line.
  const taken = Math.max(
    ...alignColumns(rowsWith(looks.map(() => "")), "lr").map((line) => line.length),
  );
  const rows = rowsWith(looks.map((text) => clip(text, LINE_WIDTH - taken)));
  return [style.bold(`Fused ${plural(blocks.length, "block")}`), ...alignColumns(rows, "lr"), ""];
}

/** A block as a summary shows it; its name without the prefix that all share. */
export function blockFacts(
  { match, block, kernel }: FusedBlock,
  layout: KnownLayout | undefined,
): BlockFacts {
  const prefix = layout?.prefix ?? "";
  const name = match.prefix.startsWith(prefix) ? match.prefix.slice(prefix.length) : match.prefix;
  const known = layout?.blocks.get(name);
  const branches = describeBranches(block.graph, block.input, block.output);
  return {
    name,
    branches,
    weightShape: kernel.weight.shape,
    group: known?.group ?? block.group,
    inC: known?.inC ?? certainInputs(branches, block.inChannels, block.group),
  };
}

export function regionFacts(region: Region): BlockFacts {
  const { emission, nodes, input, output } = region;
  const graph = { nodes, initializers: new Map(), inputs: [], outputs: [], valueInfos: new Map() };
  const kernel = emission.kernelShape;
  return {
    name: commonName(nodes) || output,
    inC: emission.inC,
    branches: describeBranches({ name: "region", ...graph }, input, output),
    weightShape: [emission.outC, emission.inC / emission.group, ...kernel],
    group: emission.group,
  };
}

function numberLines(result: ConversionResult): string[] {
  const { conversion, input, output } = result;
  const [before, after] = parameterCounts(conversion);
  const rows = [
    ...epsilonRows(conversion),
    ["  parameters", `${formatCount(before)} → ${formatCount(after)}${percent(before, after)}`],
    ["  file", `${formatBytes(input.sizeBytes)} → ${formatBytes(output.sizeBytes)}`],
  ];
  return alignColumns(rows);
}

function percent(before: number, after: number): string {
  if (before === 0 || before === after) return "";
  const change = (100 * (after - before)) / before;
  return ` (${change > 0 ? "+" : "−"}${formatNumber(Math.abs(change), 2)} %)`;
}

/** Floating-point numbers stored, batch norm statistics included. */
export function parameterCounts(conversion: ConversionResult["conversion"]): [number, number] {
  if (conversion.kind === "onnx") {
    return [
      countNumbers(storedTensors(conversion.file.model.graph).values()),
      countNumbers(storedTensors(conversion.model.graph).values()),
    ];
  }
  return [
    countNumbers(conversion.file.state.tensors.values()),
    countNumbers(conversion.plan.tensors.map((one) => one.tensor)),
  ];
}

function countNumbers(tensors: Iterable<LazyTensor>): number {
  let total = 0;
  for (const tensor of tensors) {
    if (/float/.test(tensor.dtype) && byteLength(tensor) > 0) total += elementCount(tensor.shape);
  }
  return total;
}

const EPSILON_SOURCES = {
  file: "from the file",
  option: "from --eps",
  default: "the family's default: the file holds none (see --eps)",
} as const;

function epsilonRows(conversion: ConversionResult["conversion"]): string[][] {
  const normalizes = (nodes: readonly Node[]): boolean =>
    nodes.some((node) => isOp(node, "BatchNormalization"));
  if (conversion.kind === "onnx") {
    return normalizes(conversion.plan.regions.flatMap((region) => region.nodes))
      ? [["  epsilon", "from the graph's BatchNormalization nodes"]]
      : [];
  }
  const found = new Map<string, number>();
  for (const { block } of conversion.plan.blocks) {
    if (!normalizes(block.graph.nodes)) continue;
    const text = `${formatNumber(block.epsilon.value)}, ${EPSILON_SOURCES[block.epsilon.from]}`;
    found.set(text, (found.get(text) ?? 0) + 1);
  }
  return [...found].map(([text, n], i) => [
    i === 0 ? "  epsilon" : "",
    found.size === 1 ? text : `${text} (${plural(n, "block")})`,
  ]);
}

function noteLines({ conversion, written }: ConversionResult, style: Style): string[] {
  const notes = conversion.kind === "checkpoint" ? [...conversion.plan.notes] : [];
  if (conversion.kind === "checkpoint" && conversion.plan.dropped.length > 0) {
    notes.push(
      `left out, as the deploy form has no place for them: ${listNames(conversion.plan.dropped)}`,
    );
  }
  if (conversion.kind === "onnx" && conversion.plan.refusals.length > 0) {
    const n = conversion.plan.refusals.length;
    notes.push(
      `${plural(n, "place")} left as ${n === 1 ? "it is" : "they are"}: reparam plan says why`,
    );
  }
  if (written.nonFinite.length > 0) {
    const [first] = written.nonFinite;
    notes.push(
      `NaN or infinity passed through in ${plural(written.nonFinite.length, "tensor")}, first in ${first?.name} at element ${first?.index}`,
    );
  }
  if (notes.length === 0) return [];
  return ["", style.bold("Notes"), ...notes.flatMap((note) => wrap(note, "  · ", "    "))];
}

function proofLines({ verification }: ConversionResult, style: Style): string[] {
  if (!verification) return [style.warn("NOT VERIFIED"), "  as --no-verify asked for."];
  return [
    ...verdictLines(verification.verdict, style),
    ...weightLines(verification.weights),
    "  Checked on the file as written, read back before it got its name.",
  ];
}

function resultLines({ output, published }: ConversionResult, style: Style): string[] {
  return published
    ? [`Written to ${style.bold(output.path)}`]
    : [style.bad("Nothing was written: the result is not the same function.")];
}
