/** @file A file's network, where the file holds it or its keys tell it. */

import { isReparamError } from "../core/errors.ts";
import type { Model } from "../ir/graph.ts";
import { knownGraph } from "./deploy-graph.ts";
import type { ModelFile } from "./open.ts";

/** The graph of a file, if there is one. */
export function graphOf(file: ModelFile): Model | undefined {
  if (file.kind === "onnx") return file.model;
  try {
    return knownGraph(file, undefined);
  } catch (error) {
    if (isReparamError(error, "bad-data")) return undefined;
    throw error;
  }
}
