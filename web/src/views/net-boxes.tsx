/** @file The boxes of the net's figure: one operator, or the branches of a block side by side. */

import type { JSX } from "preact";

interface BoxProps {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export function NetBox(props: BoxProps & { label: string; fused?: boolean }): JSX.Element {
  const { x, y, width, height, label, fused } = props;
  return (
    <>
      <rect class={fused ? "box fused" : "box"} x={x} y={y} width={width} height={height} />
      <text x={x + width / 2} y={y + height / 2 + 4} text-anchor="middle">
        {label}
      </text>
    </>
  );
}

/** The branches side by side in one box. */
export function Lanes({
  x,
  y,
  width,
  height,
  lanes,
}: BoxProps & { lanes: readonly string[] }): JSX.Element {
  const total = lanes.reduce((sum, lane) => sum + lane.length + 3, 0);
  let at = x;
  return (
    <>
      <rect class="box lanes" x={x} y={y} width={width} height={height} />
      {lanes.map((lane, i) => {
        const left = at;
        const own = (width * (lane.length + 3)) / total;
        at += own;
        return (
          <g key={i}>
            {i > 0 && <line class="lane-rule" x1={left} x2={left} y1={y} y2={y + height} />}
            <text x={left + own / 2} y={y + height / 2 + 4} text-anchor="middle">
              {lane}
            </text>{" "}
          </g>
        );
      })}
    </>
  );
}
