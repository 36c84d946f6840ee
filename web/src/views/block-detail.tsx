/** @file One block: its branches' kernels beside the fused one, k, cancellation. */

import type { JSX } from "preact";
import { formatNumber } from "../../../src/report/html/format.ts";
import { heatMap } from "../../../src/report/html/heat-map.ts";
import { weights } from "../page-state.ts";
import type { BlockView, KernelView } from "../worker/protocol.ts";
import { FilterMosaic } from "./filter-mosaic.tsx";
import { MarkupView } from "./markup-view.tsx";

const EPSILON_FROM = {
  file: "from the file",
  option: "as given",
  default: "the family's",
} as const;

export function BlockDetail({ block }: { block: BlockView }): JSX.Element {
  const { branches, fused, k, cancellation, epsilon, tail } = block;
  const strongest = Math.max(...[...branches, fused].flatMap(({ rms }) => rms));
  return (
    <div class="block">
      <h3>
        Block <code>{block.name}</code>
      </h3>
      <figure>
        <div class="kernels">
          {branches.map((branch, i) => (
            <Kernel key={i} kernel={branch} strongest={strongest} sign={i === 0 ? "" : "+"} />
          ))}
          <Kernel kernel={fused} strongest={strongest} sign={branches.length > 0 ? "=" : ""} />
          <FilterMosaic fused={fused} />
        </div>
        <figcaption>
          <b>Kernels.</b> Root mean square of each tap over all pairs of channels, every branch
          after its own normalization
          {tail.length > 0 && ` and before the ${tail.join(" and ")} that follows the sum`}; solid
          is strong, and all share one scale. Last, the first {fused.mosaicRows} filters of the
          fused weight on their first {fused.mosaicColumns} input channels, blue below zero, orange
          above.
        </figcaption>
      </figure>
      <dl class="facts">
        <dt>Fused weight</dt>
        <dd>
          <code>{block.weightName}</code> [{block.shape.join(", ")}]
        </dd>
        <dt>
          Roundings <i>k</i>
        </dt>
        <dd>
          {k.weight} per weight, {k.bias} per bias: what an ordinary float32 fuse of these branches
          makes. Here the fuse runs in float64 and rounds once, so ω ≤ 1.
        </dd>
        <DeployKernel name={block.name} />
        <dt>Cancellation</dt>
        <dd>
          {formatNumber(cancellation)}× – the magnitudes that are summed up, over the magnitude of
          the result.{" "}
          {cancellation > 10
            ? "The branches work against each other here; float32 loses digits."
            : "Near 1, the branches do not work against each other."}
        </dd>
        {epsilon && (
          <>
            <dt>Epsilon</dt>
            <dd>
              {formatNumber(epsilon.value)}, {EPSILON_FROM[epsilon.from]}
            </dd>
          </>
        )}
        {block.assumptions.length > 0 && (
          <>
            <dt>Assumed</dt>
            <dd>{block.assumptions.join("; ")}</dd>
          </>
        )}
      </dl>
    </div>
  );
}

/** How far the deploy file's kernel is from the exact one, once two files have been compared. */
function DeployKernel({ name }: { name: string }): JSX.Element | null {
  const compared = weights.state.value;
  const found =
    compared.type === "done" ? compared.result.blocks.find((one) => one.name === name) : undefined;
  if (found?.omega === undefined) return null;
  return (
    <>
      <dt>
        Roundings <i>ω</i>
      </dt>
      <dd>
        {formatNumber(found.omega)} between the deploy file and the exact fused weights,{" "}
        {found.omega <= found.k ? "no more than" : "more than"} the {found.k} of an ordinary fuse.
      </dd>
    </>
  );
}

interface KernelProps {
  readonly kernel: KernelView;
  readonly strongest: number;
  readonly sign: string;
}

function Kernel({ kernel, strongest, sign }: KernelProps): JSX.Element {
  const { label, rows, columns, rms, norm } = kernel;
  return (
    <div class="kernel">
      {sign !== "" && <span class="sign">{sign}</span>}
      <div>
        <MarkupView html={heatMap({ label, rows, columns, values: rms, strongest })} />
        <span class="kernel-label key">{label}</span>
        <span class="kernel-norm soft">‖·‖ {formatNumber(norm)}</span>
      </div>
    </div>
  );
}
