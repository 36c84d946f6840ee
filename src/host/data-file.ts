/** @file When an ONNX model's weights need a file of their own, and what that file is called. */

import { basename } from "node:path";
import { byteLength } from "../core/tensor.ts";
import { storedTensors } from "../ir/constant-nodes.ts";
import type { Model } from "../ir/graph.ts";

/** An ONNX file may have 2^31 − 1 bytes; what is not weights (nodes, names) stays well below the rest. */
const MAX_INLINE_BYTES = 2 ** 31 - 2 ** 24;

/** Whether the weights are too large for one file, or for `maxInlineBytes` of it. */
export function needsDataFile(model: Model, maxInlineBytes: number = MAX_INLINE_BYTES): boolean {
  let total = 0;
  for (const tensor of storedTensors(model.graph).values()) total += byteLength(tensor);
  return total > Math.min(maxInlineBytes, MAX_INLINE_BYTES);
}

/** The data file beside the model at `path`, and its name as the model spells it. */
export function dataFileOf(path: string): { readonly path: string; readonly location: string } {
  return { path: `${path}.data`, location: `${basename(path)}.data` };
}
