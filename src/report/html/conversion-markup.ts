/** @file What a conversion did: every block with its branches and the convolution it became, and the totals. */

import { byteLength, elementCount, formatShape, type LazyTensor } from "../../core/tensor.ts";
import { type BlockFacts, formatBranches } from "../block-groups.ts";
import { blockFacts, regionFacts } from "../conversion-text.ts";
import { formatBytes, plural } from "../format.ts";
import type { ConversionResult } from "../result.ts";
import { formatChange, formatShort } from "./format.ts";
import { element, escapeText } from "./markup.ts";

/** Rows in one document; a longer list is not read by anyone. */
const MAX_ROWS = 2000;

export function conversionMarkup(result: ConversionResult): string {
  const { conversion, layout } = result;
  const blocks =
    conversion.kind === "onnx"
      ? conversion.plan.regions.map(regionFacts)
      : conversion.plan.blocks.map((block) => blockFacts(block, layout));
  return [
    element("h2", {}, `${plural(blocks.length, "block")} fused`),
    totals(result),
    blockTable(blocks),
    left(result),
  ].join("");
}

function totals({ conversion }: ConversionResult): string {
  const rows: [string, number, number, (n: number) => string][] = [];
  if (conversion.kind === "onnx") {
    const { before, after } = conversion.plan;
    rows.push(["nodes", before.nodes, after.nodes, String]);
    rows.push(["parameters", before.parameters, after.parameters, formatShort]);
    if (before.macs !== undefined && after.macs !== undefined)
      rows.push(["multiply-accumulates", before.macs, after.macs, formatShort]);
  } else {
    const before = [...conversion.file.state.tensors.values()];
    const after = conversion.plan.tensors.map(({ tensor }) => tensor);
    rows.push(["tensors", before.length, after.length, String]);
    rows.push(["parameters", numbers(before), numbers(after), formatShort]);
    rows.push(["weights", bytes(before), bytes(after), formatBytes]);
  }
  const head = ["", "training form", "deploy form", "change"].map((text, i) =>
    element("th", { scope: "col", class: i === 0 ? undefined : "number" }, text),
  );
  const body = rows.map(([label, before, after, format]) => {
    const cells = [format(before), format(after), formatChange(before, after)];
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, label) +
        cells.map((cell) => element("td", { class: "number" }, cell)).join(""),
    );
  });
  return `<table><thead><tr>${head.join("")}</tr></thead><tbody>${body.join("")}</tbody></table>`;
}

function numbers(tensors: readonly LazyTensor[]): number {
  return tensors
    .filter(({ dtype }) => dtype.includes("float"))
    .reduce((sum, { shape }) => sum + elementCount(shape), 0);
}

function bytes(tensors: readonly LazyTensor[]): number {
  return tensors.reduce((sum, tensor) => sum + byteLength(tensor), 0);
}

function blockTable(blocks: readonly BlockFacts[]): string {
  const rows = blocks
    .slice(0, MAX_ROWS)
    .map(({ name, branches, weightShape, group }) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, element("code", {}, escapeText(name))) +
          element("td", {}, escapeText(formatBranches(branches))) +
          element("td", { class: "number" }, formatShape(weightShape)) +
          element("td", { class: "number" }, group === undefined ? "?" : String(group)),
      ),
    );
  const caption =
    blocks.length > MAX_ROWS ? `<caption>The first ${MAX_ROWS} of ${blocks.length}.</caption>` : "";
  const head = `<tr><th scope="col">block</th><th scope="col">branches</th><th scope="col" class="number">fused weight</th><th scope="col" class="number">groups</th></tr>`;
  return element(
    "div",
    { class: "scroll" },
    `<table>${caption}<thead>${head}</thead><tbody>${rows.join("")}</tbody></table>`,
  );
}

/** What stays as it is although it looks as if it could be fused, and what the user should know. */
function left({ conversion, written }: ConversionResult): string {
  const lines =
    conversion.kind === "onnx"
      ? conversion.plan.refusals.map(({ reason }) => reason)
      : conversion.plan.notes;
  const strange = written.nonFinite.map(
    ({ name, index }) => `${name}: element ${index} is NaN or an infinity, passed through`,
  );
  const items = [...lines, ...strange]
    .slice(0, MAX_ROWS)
    .map((line) => element("li", {}, escapeText(line)));
  if (items.length === 0) return "";
  const heading = conversion.kind === "onnx" ? "What stays as it is, and why" : "Notes";
  return element("h3", {}, heading) + element("ul", { class: "plain" }, items.join(""));
}
