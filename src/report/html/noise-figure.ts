/** @file How far both forms, run in float32, are from the float64 truth after every block. */

import type { NoisePoint } from "../../verify/noise-floor.ts";
import { formatNumber } from "./format.ts";
import { lineChart } from "./line-chart.ts";
import { element } from "./markup.ts";

export function noiseFigure(points: readonly NoisePoint[], width?: number): string {
  if (points.length < 2) return "";
  const series = (look: "training" | "deploy", label: string) => ({
    label,
    look,
    points: points.map((point, x) => ({
      x,
      y: point[look],
      title: `${point.name}: ${formatNumber(point[look])}`,
    })),
  });
  const chart = lineChart({
    label: "Relative error of both forms against float64, block by block",
    series: [series("training", "training form"), series("deploy", "deploy form")],
    xLabel: "depth",
    yLabel: "relative error",
    yScale: "log",
    xNames: points.map(({ name }) => name),
    ...(width === undefined ? {} : { width }),
  });
  const caption =
    "<b>Noise floor.</b> Relative error of each form, run in float32, against the training form run in float64, after every " +
    "block. Both forms are rounded, so both have an error; a deploy form that lies on the training form's line is as good as it. " +
    "A jump of the deploy line alone marks the block where the two functions part.";
  return element(
    "figure",
    {},
    element("div", { class: "scroll" }, chart) + element("figcaption", {}, caption),
  );
}
