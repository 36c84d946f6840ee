/**
 * @file One of the two files of a comparison, as what certificate A compares: kernels (fused blocks, in float64 and
 * on demand) and all other tensors. A checkpoint and an ONNX graph look the same from here on.
 */

import type { ModelFile } from "../convert/open.ts";
import { namingFile } from "../core/errors.ts";
import type { LazyTensor } from "../core/tensor.ts";
import { checkpointSide } from "./checkpoint-side.ts";
import type { Kernel } from "./kernel.ts";

export { type Kernel, storedKernel } from "./kernel.ts";

/** What a fused kernel is made of, for when it has no counterpart as a whole. */
export interface KernelParts {
  readonly tensors: ReadonlyMap<string, LazyTensor>;
  readonly stored: readonly Kernel[];
}

/** A kernel that the other side may have folded, although this one did not: a convolution or block and its batch norm. */
export interface PlainFold {
  readonly kernel: Kernel;
  /** Names in `tensors` that it is made of. */
  readonly names: readonly string[];
  /** The fused block that the norm follows; undefined for a plain convolution. */
  readonly block: Kernel | undefined;
}

export interface Side {
  readonly file: ModelFile;
  readonly form: "training" | "deploy" | "mixed";
  /** In file or graph order. Kernels made of several branches or of a convolution and its batch norm. */
  readonly fused: readonly Kernel[];
  /** Of each kernel of a graph in `fused`; a checkpoint's blocks have none. */
  readonly parts: ReadonlyMap<Kernel, KernelParts>;
  /** Every other tensor by name; prefixes stripped. */
  readonly tensors: ReadonlyMap<string, LazyTensor>;
  /** Stored kernels among `tensors`: a weight of rank ≥ 2 and the bias beside it. */
  readonly stored: readonly Kernel[];
  /** Convolutions among `tensors` with the batch norm that follows them in file order. */
  readonly folds: readonly PlainFold[];
  readonly notes: readonly string[];
}

/**
 * Opens a file for comparison, `deploy` being the one it will be compared with: where the file's keys fit several
 * families, names in the deploy file are evidence of which it is.
 *
 * @throws what `planCheckpoint` throws, except that a checkpoint without known blocks is a deploy form
 */
export async function openSide(file: ModelFile, deploy?: ModelFile): Promise<Side> {
  if (file.kind === "onnx") {
    // Loaded when needed: two checkpoints need no graph.
    const { graphSide } = await import("./graph-side.ts");
    return await namingFile(file.name, graphSide(file));
  }
  const compared = deploy ? { ...file, deployKeys: tensorNames(deploy) } : file;
  return await namingFile(file.name, checkpointSide(compared));
}

function tensorNames(file: ModelFile): ReadonlySet<string> {
  if (file.kind === "onnx") return new Set(file.model.graph.initializers.keys());
  const { state, prefix } = file;
  const names = [...state.tensors.keys()];
  return new Set(names.map((n) => (n.startsWith(prefix) ? n.slice(prefix.length) : n)));
}
