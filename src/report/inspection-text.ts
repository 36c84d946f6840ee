/** @file What `reparam inspect` prints: the file, the net as a tree of stages and blocks, the tensors. */

import type {
  CheckpointInspection,
  InspectedBlock,
  InspectedTensor,
  OnnxInspection,
} from "../convert/inspect.ts";
import { formatShape } from "../core/tensor.ts";
import {
  type BlockGroup,
  formatBranches,
  formatChannels,
  formatKernel,
  groupBlocks,
  groupChannels,
} from "./block-groups.ts";
import {
  alignColumns,
  clip,
  formatBytes,
  formatCount,
  formatNumber,
  LINE_WIDTH,
  plural,
  shorten,
  wrap,
} from "./format.ts";
import { FORMAT_NAMES } from "./names.ts";
import type { InspectionResult } from "./result.ts";
import { PLAIN, type Style } from "./style.ts";

export function inspectionText(result: InspectionResult, style: Style = PLAIN): string[] {
  const { inspection, input } = result;
  const format = inspection.kind === "onnx" ? "onnx" : inspection.format;
  const withNumbers = inspection.tensors.some((tensor) => tensor.statistics);
  return [
    `${style.bold(input.path)}  ${FORMAT_NAMES[format]}, ${formatBytes(input.sizeBytes)}`,
    ...(inspection.kind === "onnx" ? onnxLines(inspection) : checkpointLines(inspection)),
    "",
    ...(inspection.blocks.length > 0
      ? treeLines(inspection.blocks, style)
      : otherLines(inspection, style)),
    ...restLines(inspection, style),
    ...inspection.notes.flatMap((note) => wrap(note, "  · ", "    ")),
    ...(withNumbers ? ["", ...tensorLines(inspection.tensors, style)] : []),
  ];
}

function checkpointLines(inspection: CheckpointInspection): string[] {
  const { arch, form, families, key, candidates, prefix, tensors, parameters } = inspection;
  const rows: string[][] = [];
  if (arch) {
    const name = arch.name ?? "custom RepVGG";
    const blocks = arch.stageBlocks.join(", ");
    rows.push([
      "  net",
      `${name}, blocks ${blocks}, ${plural(arch.classes, "class").replace("classs", "classes")}`,
    ]);
  }
  if (form !== "unknown") rows.push(["  form", FORMS[form]]);
  if (families.length > 0) rows.push(["  family", families.join(", ")]);
  rows.push(["  tensors", `${formatCount(tensors.length)}, ${formatCount(parameters)} numbers`]);
  if (prefix !== "") rows.push(["  prefix", prefix]);
  if (candidates.length > 1) {
    const listed = candidates.map((one) => `${one.path || '""'} (${one.tensors})`).join(", ");
    rows.push(["  state dicts", `${listed}; shown: ${key} (--key chooses)`]);
  } else if (key !== "") rows.push(["  state dict", key]);
  const metadata = Object.entries(inspection.metadata).slice(0, 6);
  for (const [name, value] of metadata) {
    rows.push([`  ${shorten(name, 16)}`, shorten(value.replace(/\s+/g, " "), 56)]);
  }
  return alignColumns(rows);
}

/** What a label leaves of a line. */
const VALUE_WIDTH = 68;

const FORMS = {
  training: "training (several branches per block)",
  deploy: "deploy (one convolution per block)",
  mixed: "mixed: some blocks have branches, some are fused",
} as const;

function onnxLines(inspection: OnnxInspection): string[] {
  const { opset, producer, inputs, outputs, operators, form, parameters } = inspection;
  const value = ({ name, shape }: (typeof inputs)[number]): string =>
    `${name} ${shape ? formatShape(shape) : "[…]"}`;
  const nodes = operators.reduce((sum, one) => sum + one.count, 0);
  const listed = operators.slice(0, 5).map(({ opType, count }) => `${count} ${opType}`);
  return alignColumns([
    ...(form === "unknown" ? [] : [["  form", FORMS[form]]]),
    ["  input", clip(inputs.map(value).join(", "), VALUE_WIDTH)],
    ["  output", clip(outputs.map(value).join(", "), VALUE_WIDTH)],
    ["  nodes", `${formatCount(nodes)}: ${listed.join(", ")}${operators.length > 5 ? ", …" : ""}`],
    ["  numbers", formatCount(parameters)],
    ["  opset", `${opset ?? "?"}${producer === "" ? "" : `, made by ${producer}`}`],
  ]);
}

function treeLines(blocks: readonly InspectedBlock[], style: Style): string[] {
  const lines: string[] = [];
  const groups = groupBlocks(blocks);
  const runs = groups.map((group) => equalRuns(group.blocks));
  const width = Math.max(
    ...runs.flatMap((group) =>
      group.map((run) => runName(run).length + (group.length > 1 ? 2 : 0)),
    ),
  );
  const columns = { name: Math.min(width, MAX_NAME), channels: CHANNELS_WIDTH };
  groups.forEach((group, g) => {
    const indent = group.blocks.length === 1 ? "" : "  ";
    if (indent !== "") lines.push(stageLine(group, style));
    let { previous } = group;
    for (const run of runs[g]!) {
      lines.push(...blockLines(run, previous, indent, columns));
      previous = run.at(-1);
    }
  });
  return lines;
}

/** Modules listed of a net without known blocks. */
const MAX_MODULES = 20;

/** A net without blocks to fuse: its outermost modules. */
function otherLines(inspection: InspectionResult["inspection"], style: Style): string[] {
  if (inspection.kind === "onnx") return ["Nothing to fuse."];
  const modules = new Map<string, { tensors: number; numbers: number }>();
  for (const { name, shape } of inspection.tensors) {
    const own = name.startsWith(inspection.prefix) ? name.slice(inspection.prefix.length) : name;
    const module = own.split(".")[0] ?? own;
    const { tensors, numbers } = modules.get(module) ?? { tensors: 0, numbers: 0 };
    const count = shape.reduce((product, n) => product * n, 1);
    modules.set(module, { tensors: tensors + 1, numbers: numbers + count });
  }
  const rows = [...modules].slice(0, MAX_MODULES).map(([name, { tensors, numbers }]) => [
    `  ${shorten(name, 32)}`,
    // The numbers stand below each other, "1 tensor" or not.
    plural(tensors, "tensor").padEnd(`${formatCount(tensors)} tensors`.length),
    `${formatCount(numbers)} numbers`,
  ]);
  const rest = modules.size - rows.length;
  return [
    style.bold("No block of a known family; its modules"),
    ...alignColumns(rows, "lrr"),
    ...(rest > 0 ? [`  and ${rest} more`] : []),
  ];
}

const MAX_NAME = 40;
/** `1280 → 1280 /2` */
const CHANNELS_WIDTH = 14;

function stageLine(group: BlockGroup<InspectedBlock>, style: Style): string {
  const blocks = plural(group.blocks.length, "block");
  return `${style.bold(group.label)}  ${blocks}, ${groupChannels(group)} channels`;
}

/** Neighbours that look the same are one line. */
function equalRuns(blocks: readonly InspectedBlock[]): InspectedBlock[][] {
  const runs: InspectedBlock[][] = [];
  for (const block of blocks) {
    const last = runs.at(-1);
    if (last && lookOf(last[0]!) === lookOf(block)) last.push(block);
    else runs.push([block]);
  }
  return runs;
}

function lookOf({ branches, weightShape, group, stride, form }: InspectedBlock): string {
  return JSON.stringify([branches, weightShape, group, stride, form]);
}

/** `stage3.1 … 13` */
function runName(run: readonly InspectedBlock[]): string {
  const [first, last] = [run[0]!, run.at(-1)!];
  if (run.length === 1) return first.name;
  const tail = last.name.split(/[./]/).at(-1) ?? "";
  return /^\d+$/.test(tail)
    ? `${first.name} … ${tail}`
    : `${first.name} and ${run.length - 1} more`;
}

/** One line; the branches below each other where they do not fit beside the name. */
function blockLines(
  run: readonly InspectedBlock[],
  previous: InspectedBlock | undefined,
  indent: string,
  columns: { name: number; channels: number },
): string[] {
  const first = run[0]!;
  const stride = first.stride !== undefined && first.stride > 1 ? ` /${first.stride}` : "";
  const channels = `${formatChannels(first, previous)}${stride}`.padEnd(columns.channels);
  const head = `${indent}${shorten(runName(run), columns.name).padEnd(columns.name - indent.length)}  ${channels}`;
  const stale = first.form === "mixed" ? "  and a fused kernel" : "";
  if (first.branches.length === 0) return [`${head}  one ${formatKernel(first)}`];
  const line = `${head}  ${formatBranches(first.branches)}${stale}`;
  if (line.length <= LINE_WIDTH) return [line];
  return [
    `${head.trimEnd()}${stale}`,
    ...first.branches.flatMap((branch, i) =>
      wrap(branch, `${indent}    ${i === 0 ? " " : "∥"} `, `${indent}        `),
    ),
  ];
}

function restLines(inspection: InspectionResult["inspection"], style: Style): string[] {
  const owned = inspection.blocks.reduce((sum, block) => sum + block.parameters, 0);
  const rest = inspection.parameters - owned;
  if (rest <= 0 || inspection.blocks.length === 0) return [];
  return [style.dim(`and ${formatCount(rest)} numbers outside these blocks`)];
}

/** One table; tensors of one module stand below its name. */
function tensorLines(tensors: readonly InspectedTensor[], style: Style): string[] {
  const table = alignColumns(
    [["", "shape", "type", "mean", "min", "max"], ...tensors.map(tensorRow)],
    "lllrrr",
  );
  const lines = [style.bold(table[0] ?? "")];
  let module = "";
  tensors.forEach(({ name, statistics }, i) => {
    const owner = name.slice(0, Math.max(0, name.lastIndexOf(".")));
    if (owner !== module) lines.push(owner);
    module = owner;
    const bad = badNumbers(statistics);
    lines.push(`${table[i + 1] ?? ""}${bad === "" ? "" : `  ${style.bad(bad)}`}`);
  });
  return lines;
}

function tensorRow({ name, shape, dtype, statistics }: InspectedTensor): string[] {
  const number = (value: number | undefined): string =>
    value === undefined ? "–" : formatNumber(value);
  const { mean, min, max } = statistics ?? {};
  const own = name.slice(name.lastIndexOf(".") + 1);
  return [`  ${own}`, formatShape(shape), dtype, number(mean), number(min), number(max)];
}

function badNumbers(statistics: InspectedTensor["statistics"]): string {
  if (!statistics) return "";
  const { nanCount, infinityCount } = statistics;
  return [
    ...(nanCount > 0 ? [`${formatCount(nanCount)} NaN`] : []),
    ...(infinityCount > 0 ? [`${formatCount(infinityCount)} infinite`] : []),
  ].join(", ");
}
