/** @file ω of every block as bars on a log axis with the line at k, as a table: the figure is its own description. */

import { plural } from "../format.ts";
import { formatNumber } from "./format.ts";
import { element, escapeText } from "./markup.ts";
import { logScale, type Scale } from "./scale.ts";
import type { BlockBar } from "./verdict-view.ts";

/** Worst first beyond this many; a figure of a thousand bars shows nothing. */
export const MAX_BARS = 120;

const STATUS: Readonly<Record<BlockBar["status"], readonly [word: string, tone: string]>> = {
  exact: ["exact", "good"],
  rounding: ["rounding", "good"],
  lower: ["lower precision", "unsure"],
  different: ["different", "bad"],
  unmatched: ["no counterpart", "unsure"],
};

/** The table with its caption; empty when there are no blocks. */
export function omegaTable(blocks: readonly BlockBar[], caption: string): string {
  if (blocks.length === 0) return "";
  const shown =
    blocks.length <= MAX_BARS
      ? blocks
      : [...blocks].sort((a, b) => (b.ratio ?? 0) - (a.ratio ?? 0)).slice(0, MAX_BARS);
  const scale = logScale(
    shown.flatMap((block) => (block.omega === undefined ? [] : [block.omega, block.k])),
    [0.1, 10],
  );
  const hidden = blocks.length - shown.length;
  const more =
    hidden > 0
      ? ` The ${shown.length} worst are shown; ${plural(hidden, "block")} more lie below.`
      : "";
  return element(
    "table",
    { class: "omega" },
    `<caption>${caption}${more}</caption><thead><tr><th scope="col">block</th><th scope="col" class="track">${axis(scale)}</th>` +
      `<th scope="col" class="number">ω</th><th scope="col" class="number">k</th><th scope="col" class="optional">verdict</th></tr></thead>` +
      `<tbody>${shown.map((block) => row(block, scale)).join("")}</tbody>`,
  );
}

function axis(scale: Scale): string {
  const ticks = scale.ticks.map(({ value, label }) =>
    element("i", { class: "tick", style: left(scale, value) }, escapeText(label)),
  );
  return element("span", { class: "lane", title: "ω, roundings needed" }, ticks.join(""));
}

function row(block: BlockBar, scale: Scale): string {
  const [word, tone] = STATUS[block.status];
  const rules = scale.ticks.map(({ value }) =>
    element("i", { class: "rule", style: left(scale, value) }),
  );
  const { omega, k } = block;
  const bar =
    omega === undefined
      ? ""
      : element("i", { class: "bar", style: `width:${percent(scale.at(omega))}` }) +
        element("i", { class: "limit", style: left(scale, k) });
  const against = block.deployName ? ` · ${block.deployName}` : "";
  return element(
    "tr",
    { class: `tone-${tone}` },
    element(
      "th",
      { scope: "row", class: "name", title: block.name + against },
      escapeText(block.name),
    ) +
      element(
        "td",
        { class: "track" },
        element("span", { class: "lane", "aria-hidden": "true" }, rules.join("") + bar),
      ) +
      element("td", { class: "number" }, omega === undefined ? "–" : formatNumber(omega)) +
      element("td", { class: "number" }, omega === undefined ? "–" : String(k)) +
      element("td", { class: "status optional" }, escapeText(block.lowered ?? word)),
  );
}

function left(scale: Scale, value: number): string {
  return `left:${percent(scale.at(value))}`;
}

function percent(position: number): string {
  return `${Math.round(position * 10000) / 100}%`;
}
