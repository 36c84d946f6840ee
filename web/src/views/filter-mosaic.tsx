/** @file The first filters of a fused weight, number by number, on a canvas. */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { BlockView } from "../worker/protocol.ts";

/** Okabe and Ito's blue and vermilion: told apart by every kind of colour vision. */
const BELOW = [0, 114, 178] as const;
const ABOVE = [213, 94, 0] as const;
/** A pixel of white between kernels. */
const GAP = 1;
const TARGET_PIXELS = 150;

export function FilterMosaic({ fused }: { fused: BlockView["fused"] }): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { rows, columns, mosaicRows, mosaicColumns, mosaic } = fused;
  const width = mosaicColumns * (columns + GAP) - GAP;
  const height = mosaicRows * (rows + GAP) - GAP;
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const image = context.createImageData(width, height);
    let strongest = Number.MIN_VALUE;
    for (const value of mosaic) strongest = Math.max(strongest, Math.abs(value));
    mosaic.forEach((value, i) => {
      const tap = i % (rows * columns);
      const pair = Math.floor(i / (rows * columns));
      const x = (pair % mosaicColumns) * (columns + GAP) + (tap % columns);
      const y = Math.floor(pair / mosaicColumns) * (rows + GAP) + Math.floor(tap / columns);
      const [red, green, blue] = value < 0 ? BELOW : ABOVE;
      const strength = Math.round(255 * Math.sqrt(Math.abs(value) / strongest));
      image.data.set([red, green, blue, strength], (y * width + x) * 4);
    });
    context.putImageData(image, 0, 0);
  }, [mosaic, width, height, rows, columns, mosaicColumns]);
  const scale = Math.max(1, Math.floor(TARGET_PIXELS / Math.max(width, height)));
  return (
    <div class="kernel mosaic">
      <div>
        <canvas
          ref={canvas}
          width={width}
          height={height}
          style={{ width: `${width * scale}px`, height: `${height * scale}px` }}
          role="img"
          aria-label={`The first ${mosaicRows} filters on ${mosaicColumns} input channels`}
        />
        <span class="kernel-label key">
          weight[:{mosaicRows}, :{mosaicColumns}]
        </span>
      </div>
    </div>
  );
}
