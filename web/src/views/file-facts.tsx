/** @file What a file is, in a few lines, and what its deploy form would cost. */

import type { JSX } from "preact";
import { formatBytes, plural } from "../../../src/report/format.ts";
import { formatChange, formatShort } from "../../../src/report/html/format.ts";
import type { FileView, Subject } from "../worker/protocol.ts";

const FORMS = {
  training: "training form, with branches",
  deploy: "deploy form, already fused",
  mixed: "half converted: some blocks have branches, some are fused",
  unknown: "no multi-branch block is known in it",
} as const;

/** Whether there is anything to fuse: a deploy form may be opened as well. */
export function hasBranches({ inspection: { form } }: FileView): boolean {
  return form === "training" || form === "mixed";
}

export function FileFacts({ view, subject }: { view: FileView; subject: Subject }): JSX.Element {
  const { inspection } = view;
  return (
    <dl class="facts">
      <dt>Form</dt>
      <dd>{FORMS[inspection.form]}</dd>
      <dt>Blocks</dt>
      <dd>{blocksLine(view)}</dd>
      <dt>File</dt>
      <dd>{fileLine(view, subject)}</dd>
      {inspection.kind === "onnx" && (
        <>
          <dt>Inputs</dt>
          <dd>
            {inspection.inputs
              .map(({ name, shape }) => `${name} [${(shape ?? ["?"]).join(", ")}]`)
              .join(", ")}
          </dd>
        </>
      )}
      {inspection.notes.length > 0 && (
        <>
          <dt>Notes</dt>
          <dd>
            {inspection.notes.map((note) => (
              <div key={note}>{note}</div>
            ))}
          </dd>
        </>
      )}
    </dl>
  );
}

function blocksLine({ inspection }: FileView): string {
  const count = plural(inspection.blocks.length, "block");
  if (inspection.kind === "onnx") return `${count} that become one convolution each`;
  const { families, arch } = inspection;
  const family = families.length > 0 ? ` of ${families.join(" and ")}` : "";
  return `${count}${family}${arch?.name ? `: this is ${arch.name}` : ""}`;
}

function fileLine({ inspection, sizeBytes }: FileView, subject: Subject): string {
  const size = formatBytes(sizeBytes);
  if (inspection.kind === "onnx") {
    const maker = inspection.producer === "" ? "" : `, written by ${inspection.producer}`;
    return `ONNX, opset ${inspection.opset ?? "unknown"}${maker}, ${size}`;
  }
  const inside = inspection.key === "" ? "" : `, state dict ${inspection.key}`;
  const prefix = inspection.prefix === "" ? "" : `, names begin with "${inspection.prefix}"`;
  const epsilon = subject.epsilon === undefined ? "" : `, epsilon ${subject.epsilon}`;
  return `${inspection.format}, ${plural(inspection.tensors.length, "tensor")}${inside}${prefix}${epsilon}, ${size}`;
}

export function CostTable({ view }: { view: FileView }): JSX.Element | null {
  const { before, after, inspection } = view;
  if (!after) return <p>{view.whyNot}</p>;
  const atSize = inspection.kind === "checkpoint" ? " at 224×224" : "";
  const rows: [string, number | undefined, number | undefined, (n: number) => string][] = [
    ["Parameters", before.parameters, after.parameters, formatShort],
    [`Multiply-accumulates${atSize}`, before.macs, after.macs, formatShort],
    ["Weights", before.bytes, after.bytes, formatBytes],
  ];
  const known = rows.filter(([, from, to]) => from !== undefined || to !== undefined);
  return (
    <table class="costs">
      <thead>
        <tr>
          <th scope="col">
            <span class="visually-hidden">Quantity</span>
          </th>
          <th scope="col" class="number">
            training form
          </th>
          <th scope="col" class="number">
            deploy form
          </th>
          <th scope="col" class="number">
            change
          </th>
        </tr>
      </thead>
      <tbody>
        {known.map(([label, from, to, format]) => (
          <tr key={label}>
            <th scope="row">{label}</th>
            <td class="number">{from === undefined ? "?" : format(from)}</td>
            <td class="number">{to === undefined ? "?" : format(to)}</td>
            <td class="number">
              {from === undefined || to === undefined ? "?" : formatChange(from, to)}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
