/** @file The graph around a checkpoint's blocks, where the net is one we know how to build. */

import { isReparamError, ReparamError } from "../core/errors.ts";
import type { StateDict } from "../core/tensor.ts";
import type { NamedTensor } from "../formats/named-tensor.ts";
import type { Model } from "../ir/graph.ts";
import {
  type BuildRepVggOptions,
  buildRepVgg,
  hasRepVggKeys,
  inferRepVgg,
} from "../zoo/nets/index.ts";
import { type CheckpointFile, stripPrefix } from "./open.ts";

export interface GraphOptions {
  /** Fixed input height and width; dynamic by default. */
  readonly height?: number | undefined;
  readonly width?: number | undefined;
  /** ONNX operator set, 7 to 22. Default 17. */
  readonly opset?: number | undefined;
}

/** The net of a checkpoint as a graph, in the form its keys have; undefined when the net is not known. */
export function knownGraph(
  file: CheckpointFile,
  tensors: readonly NamedTensor[] | undefined,
  options: GraphOptions = {},
): Model | undefined {
  const state = tensors
    ? { tensors: new Map(tensors.map((t) => [t.name, t.tensor])), modules: file.state.modules }
    : file.state;
  const stripped = stripPrefix(state, file.prefix);
  if (!hasRepVggKeys(stripped)) return undefined;
  return repVggGraph(file, stripped, tensors !== undefined, options);
}

function repVggGraph(
  file: CheckpointFile,
  state: StateDict,
  fused: boolean,
  { height, width, opset }: GraphOptions,
): Model | undefined {
  const { epsilon } = file.reading;
  // Auxiliary heads and the trainer's own tensors are no part of the net that is deployed.
  const { arch, form } = inferRepVgg(state, { where: file.name, allowSurplus: true });
  const options: BuildRepVggOptions = {
    where: file.name,
    ...(epsilon === undefined ? {} : { epsilon }),
    ...(opset === undefined ? {} : { opset }),
    input: {
      ...(height === undefined ? {} : { height }),
      ...(width === undefined ? {} : { width }),
    },
  };
  return buildRepVgg(arch, fused && form !== "mixed" ? "deploy" : form, state, options);
}

/** As `knownGraph`, but the reason why there is none is an error. */
export function requireGraph(
  file: CheckpointFile,
  tensors: readonly NamedTensor[] | undefined,
  options: GraphOptions = {},
): Model {
  const fix =
    "Write .pth or .safetensors, or export the training form to ONNX in PyTorch and convert that file";
  let graph: Model | undefined;
  try {
    graph = knownGraph(file, tensors, options);
  } catch (error) {
    if (!isReparamError(error, "bad-data")) throw error;
    throw new ReparamError("refused", { where: error.where, what: error.what, fix, cause: error });
  }
  if (graph) return graph;
  throw new ReparamError("refused", {
    where: file.name,
    what: "its blocks are known, but not the network around them (how they are connected, strides, activations, head), which ONNX needs",
    fix,
  });
}
