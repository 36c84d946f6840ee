/** @file Lines over a shared horizontal axis, as one self-contained SVG. */

import { element, escapeText } from "./markup.ts";
import { linearScale, logScale, type Scale } from "./scale.ts";

export interface Series {
  readonly label: string;
  /** `training` is a full line with dots, `deploy` a dashed one with squares: not told apart by colour alone. */
  readonly look: "training" | "deploy";
  /** In order of x; values that are not finite break the line. */
  readonly points: readonly { readonly x: number; readonly y: number; readonly title?: string }[];
}

export interface LineChartOptions {
  /** For screen readers. */
  readonly label: string;
  readonly series: readonly Series[];
  readonly xLabel: string;
  readonly yLabel: string;
  readonly yScale: "log" | "linear";
  /** Instead of numbers, names at whole x. */
  readonly xNames?: readonly string[];
  readonly width?: number;
  readonly height?: number;
}

const LEFT = 58;
const RIGHT = 14;
const TOP = 26;
const BOTTOM = 42;
/** More marks than this hide the line. */
const MAX_MARKS = 64;
const NAME_PITCH = 58;

interface Frame {
  readonly x: (value: number) => number;
  readonly y: (value: number) => number;
}

export function lineChart(options: LineChartOptions): string {
  const { series, width = 680, height = 260, label } = options;
  const all = series.flatMap(({ points }) => points);
  const ys = all.map(({ y }) => y);
  const yScale = options.yScale === "log" ? logScale(ys) : linearScale(ys);
  const xs = all.map(({ x }) => x);
  const span = [Math.min(...minMax(xs)), Math.max(...minMax(xs))] as const;
  const extent = span[1] - span[0] || 1;
  const plotWidth = width - LEFT - RIGHT;
  const plotHeight = height - TOP - BOTTOM;
  const frame: Frame = {
    x: (value) => LEFT + ((value - span[0]) / extent) * plotWidth,
    y: (value) => TOP + (1 - yScale.at(value)) * plotHeight,
  };
  const content = [
    grid(yScale, frame, width),
    xTicks(options, span, frame, plotWidth, height),
    ...series.map((one) => line(one, frame, options.yScale === "log")),
    legend(series, width),
    element("text", { class: "faint", x: 0, y: 12, "font-size": 11 }, escapeText(options.yLabel)),
    element(
      "text",
      { class: "faint", x: width - RIGHT, y: height - 4, "font-size": 11, "text-anchor": "end" },
      escapeText(options.xLabel),
    ),
  ];
  return element(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label },
    content.join(""),
  );
}

function minMax(values: readonly number[]): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low > high ? [0, 1] : [low, high];
}

function grid(scale: Scale, frame: Frame, width: number): string {
  return scale.ticks
    .map(({ value, label }) => {
      const y = frame.y(value);
      return (
        element("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }) +
        element(
          "text",
          { class: "faint", x: LEFT - 6, y: y + 4, "font-size": 11, "text-anchor": "end" },
          escapeText(label),
        )
      );
    })
    .join("");
}

function xTicks(
  { xNames }: LineChartOptions,
  span: readonly [number, number],
  frame: Frame,
  plotWidth: number,
  height: number,
): string {
  const room = Math.max(2, Math.floor(plotWidth / NAME_PITCH));
  const ticks = xNames
    ? xNames.map((label, value) => ({ value, label }))
    : linearScale(span, Math.min(8, room)).ticks.filter(
        ({ value }) => value >= span[0] && value <= span[1],
      );
  const step = Math.max(1, Math.ceil(ticks.length / room));
  return ticks
    .filter((_, i) => i % step === 0)
    .map(({ value, label }) => {
      const [x, y] = [frame.x(value), height - BOTTOM];
      const shown = label.length > 10 ? `…${label.slice(-9)}` : label;
      const anchor = x > LEFT + plotWidth - 20 ? "end" : x < LEFT + 20 ? "start" : "middle";
      return (
        element("line", { class: "axis", x1: x, x2: x, y1: y, y2: y + 4 }) +
        element(
          "text",
          { class: "faint", x, y: y + 16, "font-size": 11, "text-anchor": anchor },
          escapeText(shown),
        )
      );
    })
    .join("");
}

function line({ look, points }: Series, frame: Frame, isLog: boolean): string {
  const usable = points.map(({ y }) => Number.isFinite(y) && (!isLog || y > 0));
  const path = points
    .map(({ x, y }, i) => {
      if (!usable[i]) return "";
      const command = i > 0 && usable[i - 1] ? "L" : "M";
      return `${command}${frame.x(x).toFixed(1)} ${frame.y(y).toFixed(1)}`;
    })
    .join("");
  const marks =
    points.length > MAX_MARKS
      ? []
      : points
          .filter((_, i) => usable[i])
          .map(({ x, y, title }) => mark(look, frame.x(x), frame.y(y), title));
  return (
    element("path", { class: `stroke-${look}`, d: path, "stroke-width": 1.5 }) + marks.join("")
  );
}

function mark(look: Series["look"], x: number, y: number, title: string | undefined): string {
  const content = title === undefined ? "" : element("title", {}, escapeText(title));
  return look === "training"
    ? element("circle", { class: "fill-training", cx: x, cy: y, r: 3 }, content)
    : element("rect", { class: "fill-deploy", x: x - 3, y: y - 3, width: 6, height: 6 }, content);
}

function legend(series: readonly Series[], width: number): string {
  let x = width - RIGHT;
  return [...series]
    .reverse()
    .map(({ label, look }) => {
      const text = element(
        "text",
        { class: `fill-${look}`, x, y: 12, "font-size": 11, "text-anchor": "end" },
        `${look === "training" ? "●" : "■"} ${escapeText(label)}`,
      );
      x -= label.length * 6 + 30;
      return text;
    })
    .join("");
}
