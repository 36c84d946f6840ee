/** @file When an ONNX model's weights need a file of their own, and what that file is called. */

import { basename } from "node:path";
import { byteLength } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";

/** An ONNX file may have 2^31 − 1 bytes; what is not weights (nodes, names) stays well below the rest. */
const MAX_INLINE_BYTES = 2 ** 31 - 2 ** 24;

/** Whether the weights are too large for one file. */
export function needsDataFile(model: Model): boolean {
  let total = 0;
  for (const tensor of model.graph.initializers.values()) total += byteLength(tensor);
  return total > MAX_INLINE_BYTES;
}

/** The data file beside the model at `path`, and its name as the model spells it. */
export function dataFileOf(path: string): { readonly path: string; readonly location: string } {
  return { path: `${path}.data`, location: `${basename(path)}.data` };
}
