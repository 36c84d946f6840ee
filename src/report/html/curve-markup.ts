/** @file A training run: loss, accuracy, learning rate, and a table of epochs. */

import type { CurveView } from "./curve-view.ts";
import { formatDuration, formatNumber } from "./format.ts";
import { lineChart } from "./line-chart.ts";
import { element, escapeText } from "./markup.ts";

export function curveMarkup(view: CurveView, width?: number): string {
  const { steps, epochs } = view;
  const size = width === undefined ? {} : { width };
  const validation = epochs.filter((epoch) => epoch.validationAccuracy !== undefined);
  const charts = [
    steps.length > 1 &&
      figure(
        lineChart({
          label: "Training loss by step",
          series: [
            {
              label: "training loss",
              look: "training",
              points: steps.map(({ step, loss }) => ({ x: step, y: loss })),
            },
          ],
          xLabel: "step",
          yLabel: "loss",
          yScale: steps.every(({ loss }) => loss > 0) ? "log" : "linear",
          ...size,
        }),
        "<b>Loss</b> of the training batches.",
      ),
    steps.length > 1 &&
      figure(
        lineChart({
          label: "Accuracy by step",
          series: [
            {
              label: "training batches",
              look: "training",
              points: steps.map(({ step, accuracy }) => ({ x: step, y: accuracy })),
            },
            ...(validation.length === 0
              ? []
              : [
                  {
                    label: "validation",
                    look: "deploy" as const,
                    points: validation.map(({ step, epoch, validationAccuracy }) => ({
                      x: step,
                      y: validationAccuracy!,
                      title: `epoch ${epoch + 1}: ${percent(validationAccuracy!)}`,
                    })),
                  },
                ]),
          ],
          xLabel: "step",
          yLabel: "accuracy",
          yScale: "linear",
          ...size,
        }),
        "<b>Accuracy</b> of the training batches, and of the validation set after each epoch.",
      ),
  ].filter((chart) => chart !== false);
  return charts.join("") + epochTable(view);
}

function figure(chart: string, caption: string): string {
  return element(
    "figure",
    {},
    element("div", { class: "scroll" }, chart) + element("figcaption", {}, caption),
  );
}

function epochTable({ epochs, totalSteps, elapsedMs }: CurveView): string {
  if (epochs.length === 0) return "";
  const head = ["epoch", "loss", "accuracy", "validation"]
    .map((text, i) => element("th", { scope: "col", class: i === 0 ? undefined : "number" }, text))
    .join("");
  const rows = epochs.map(({ epoch, loss, accuracy, validationAccuracy }) => {
    const cells = [
      formatNumber(loss),
      percent(accuracy),
      validationAccuracy === undefined ? "–" : percent(validationAccuracy),
    ];
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, String(epoch + 1)) +
        cells.map((cell) => element("td", { class: "number" }, escapeText(cell))).join(""),
    );
  });
  const caption = `${totalSteps} steps in ${formatDuration(elapsedMs)}.`;
  return element(
    "table",
    {},
    `<caption>${caption}</caption><thead><tr>${head}</tr></thead><tbody>${rows.join("")}</tbody>`,
  );
}

function percent(share: number): string {
  return Number.isFinite(share) ? `${(share * 100).toFixed(2)} %` : "–";
}
