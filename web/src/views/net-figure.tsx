/** @file The net drawn twice, training form left and deploy form right, each fused region linked. */

import type { JSX } from "preact";
import { chosenBlock } from "../page-state.ts";
import { pageWidth } from "../page-width.ts";
import type { NetNode, NetView } from "../worker/protocol.ts";
import { Lanes, NetBox } from "./net-boxes.tsx";

/** Between the two forms, where the block's name stands. */
const GAP = 150;
/** Where there is no room for names. */
const NARROW_GAP = 32;
const MARGIN = 4;
/** Below this, 11 px text cannot be read. */
const LEAST_SCALE = 0.8;
/** Characters of a name that fit into the gap at 11 px. */
const NAME_LENGTH = 20;

export function NetFigure({ net }: { net: NetView }): JSX.Element {
  const { width, height, rowHeight } = net;
  const roomy = 2 * width + GAP + 2 * MARGIN <= pageWidth.value;
  // A net without branches has one form.
  const fuses = net.nodes.some(isFused);
  const right = fuses ? width + (roomy ? GAP : NARROW_GAP) : 0;
  const shifts = fuses ? [0, right] : [0];
  const naturalWidth = right + width + 2 * MARGIN;
  // A little smaller is better than cut off; much smaller cannot be read, and scrolls instead.
  const fits = naturalWidth * LEAST_SCALE <= pageWidth.value;
  const drawnWidth = fits ? Math.min(naturalWidth, pageWidth.value) : naturalWidth;
  const single = net.nodes.every((node, i) => i === 0 || node.y > net.nodes[i - 1]!.y);
  return (
    <figure class="net">
      <section
        class="net-scroll"
        tabindex={0}
        aria-label={fuses ? "The network in both forms" : "The network, drawn"}
      >
        <svg
          viewBox={`${-MARGIN} -24 ${naturalWidth} ${height + 30}`}
          width={drawnWidth}
          height={((height + 30) * drawnWidth) / naturalWidth}
        >
          <title>
            {fuses ? "Training form on the left, deploy form on the right" : "The network"}
          </title>
          {fuses && (
            <>
              <text class="fill-training net-head" x={width / 2} y={-9} text-anchor="middle">
                training form
              </text>
              <text class="fill-deploy net-head" x={right + width / 2} y={-9} text-anchor="middle">
                deploy form
              </text>
            </>
          )}
          {shifts.map((shift) => (
            <g key={shift} class="net-edges" transform={`translate(${shift} 0)`}>
              {net.edges.map((points, i) => (
                <polyline key={i} points={points.map((point) => point.join(",")).join(" ")} />
              ))}
            </g>
          ))}
          {net.nodes.map((node, i) => (
            <NetRow
              key={i}
              node={node}
              shifts={shifts}
              height={rowHeight}
              named={single && roomy}
            />
          ))}
        </svg>
      </section>
      <figcaption>
        <b>The network.</b>{" "}
        {fuses && "Every block on the left becomes the one convolution on the right. "}
        {net.nodes.some(({ label }) => / \/\d/.test(label)) && "/2 is a stride of 2. "}
        {!net.connected &&
          "The file names its blocks in this order, but not how they are connected. "}
        {net.hidden > 0 && `${net.hidden} more blocks are not drawn. `}
        {fuses && "Choose a block to look at its branches."}
      </figcaption>
    </figure>
  );
}

/** Whether a node has branches that become one convolution. */
function isFused({ block, lanes }: NetNode): boolean {
  return block !== undefined && lanes.length > 0;
}

interface RowProps {
  readonly node: NetNode;
  /** Where each form is drawn: the training form, and the deploy form if there are two. */
  readonly shifts: readonly number[];
  readonly height: number;
  readonly named: boolean;
}

function NetRow({ node, shifts, height, named }: RowProps): JSX.Element {
  const { x, y, width, block, lanes, label, kind } = node;
  if (!isFused(node)) {
    return (
      <g class={`net-${kind}`}>
        {shifts.map((shift) => (
          <NetBox key={shift} x={shift + x} y={y} width={width} height={height} label={label} />
        ))}
      </g>
    );
  }
  const right = shifts.at(-1)!;
  const choose = (): void => {
    chosenBlock.value = block;
  };
  const chosen = chosenBlock.value === block;
  const middle = y + height / 2;
  // What is spoken holds what is seen, in its order, so that both can be said to a voice control.
  const branches = lanes.join(" ");
  const spoken = named
    ? `${branches} ${shortened(node.name)} ${label}`
    : `${node.name} ${branches} ${label}`;
  return (
    // biome-ignore lint/a11y/useSemanticElements: SVG has no button.
    <g
      class={chosen ? "net-block chosen" : "net-block"}
      role="button"
      tabindex={0}
      aria-pressed={chosen}
      aria-label={spoken}
      onClick={choose}
      onKeyDown={(event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        choose();
      }}
    >
      <path
        class="net-link"
        d={`M${x + width},${y} L${right + x},${y} V${y + height} H${x + width} Z`}
      />
      <Lanes x={x} y={y} width={width} height={height} lanes={lanes} />
      {named && (
        <text class="net-name" x={(x + width + right + x) / 2} y={middle + 4} text-anchor="middle">
          {shortened(node.name)}
        </text>
      )}{" "}
      <NetBox x={right + x} y={y} width={width} height={height} label={label} fused />
    </g>
  );
}

/** The end of a name tells blocks apart. */
function shortened(name: string): string {
  return name.length > NAME_LENGTH ? `…${name.slice(1 - NAME_LENGTH)}` : name;
}
