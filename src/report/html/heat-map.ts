/** @file A small matrix as squares, dark where strong. */

import { formatNumber } from "./format.ts";
import { element } from "./markup.ts";

export interface HeatMapOptions {
  readonly label: string;
  readonly rows: number;
  readonly columns: number;
  /** Not negative, `[rows, columns]`. */
  readonly values: readonly number[];
  /** The value that is drawn darkest. */
  readonly strongest: number;
}

/** Pixels along the longer side; a 31×31 kernel gets small squares, a 1×1 one large ones. */
const SIZE = 84;
const MAX_SQUARE = 28;
/** A value of zero leaves an outline, so that absent and weak taps look different. */
const FAINTEST = 0.06;

export function heatMap({ label, rows, columns, values, strongest }: HeatMapOptions): string {
  const square = Math.max(2, Math.min(MAX_SQUARE, Math.floor(SIZE / Math.max(rows, columns))));
  const squares = values.map((value, i) => {
    const strength = strongest > 0 ? Math.sqrt(value / strongest) : 0;
    return element(
      "rect",
      {
        class: value > 0 ? "heat" : "heat absent",
        x: (i % columns) * square + 0.5,
        y: Math.floor(i / columns) * square + 0.5,
        width: square - 1,
        height: square - 1,
        "fill-opacity": value > 0 ? Math.max(FAINTEST, strength) : 0,
      },
      element("title", {}, formatNumber(value)),
    );
  });
  const [width, height] = [columns * square, rows * square];
  const title = `${label}: ${rows}×${columns} taps`;
  return element(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title },
    squares.join(""),
  );
}
