/** @file What a file of a format holds, an ONNX model or named tensors, and how it is written. */

import { crc32 } from "node:zlib";
import type { TargetFormat } from "../convert/conversion.ts";
import type { ByteSink } from "../core/byte-sink.ts";
import type { TaskOptions } from "../core/task.ts";
import type { LazyTensor } from "../core/tensor.ts";
import type { NamedTensor } from "../formats/named-tensor.ts";
import { type ExternalOutput, writeModel } from "../formats/onnx/write-model.ts";
import { writePytorch } from "../formats/pytorch/write-pytorch.ts";
import { writeSafetensors } from "../formats/safetensors/write-safetensors.ts";
import type { Model } from "../ir/graph.ts";

export type Content =
  | { readonly target: "onnx"; readonly model: Model }
  | { readonly target: Exclude<TargetFormat, "onnx">; readonly tensors: readonly NamedTensor[] };

/** Writes `content`; the caller closes the sinks. */
export async function writeContent(
  content: Content,
  sink: ByteSink,
  external: ExternalOutput | undefined,
  { signal, onProgress }: TaskOptions = {},
): Promise<void> {
  const task = { signal, onProgress };
  if (content.target === "onnx") {
    await writeModel(content.model, sink, { ...task, ...(external ? { external } : {}) });
  } else if (content.target === "safetensors") {
    await writeSafetensors(content.tensors, sink, task);
  } else {
    await writePytorch(content.tensors, sink, { ...task, crc32 });
  }
}

/** The model of a content that is one. */
export function modelOf(content: Content): Model | undefined {
  return content.target === "onnx" ? content.model : undefined;
}

/** A net as the target's content: tensors under their names, or the graph around them. */
export function contentOf(
  target: TargetFormat,
  tensors: Iterable<readonly [string, LazyTensor]>,
  model: () => Model,
): Content {
  if (target === "onnx") return { target, model: model() };
  return { target, tensors: [...tensors].map(([name, tensor]) => ({ name, tensor })) };
}
