/** @file The document of `reparam inspect --json`. See docs/json.md. */

import type { InspectionResult } from "./result.ts";

export function inspectionJson({ input, inspection }: InspectionResult): object {
  const common = {
    schema: "reparam.inspect/1",
    input,
    format: inspection.kind === "onnx" ? "onnx" : inspection.format,
    form: inspection.form,
    parameters: inspection.parameters,
    blocks: inspection.blocks.map((block) => ({
      ...block,
      group: block.group ?? null,
      stride: block.stride ?? null,
    })),
    tensors: inspection.tensors.map(({ statistics, ...tensor }) => ({
      ...tensor,
      statistics: statistics ?? null,
    })),
    notes: inspection.notes,
  };
  if (inspection.kind === "onnx") {
    const { opset, producer, inputs, outputs, operators } = inspection;
    return { ...common, opset: opset ?? null, producer, inputs, outputs, operators };
  }
  const { key, candidates, prefix, families, arch, metadata } = inspection;
  return { ...common, key, candidates, prefix, families, arch: arch ?? null, metadata };
}
