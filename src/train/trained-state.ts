/** @file Between a model's named weights and the flat vectors of a training run. */

import { bytesOf, float32View } from "../core/dtype.ts";
import { internalError } from "../core/errors.ts";
import {
  float32Tensor,
  int64Tensor,
  type LazyTensor,
  lazyTensor,
  type StateDict,
  type Tensor,
} from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import type { FlatEntry } from "./parameters.ts";

/** Flat state vectors by name, float32. */
export type Vectors = ReadonlyMap<string, Float32Array>;

/** The entries' values from the model, one after the other. */
export async function gatherFlat(
  model: Model,
  entries: readonly FlatEntry[],
): Promise<Float32Array> {
  const last = entries.at(-1);
  const flat = new Float32Array(last ? last.offset + last.size : 0);
  for (const { name, offset } of entries) {
    const lazy = model.graph.initializers.get(name);
    if (!lazy) throw internalError("training", `weight ${name} is gone`);
    flat.set(float32View(await lazy.read()), offset);
  }
  return flat;
}

/** The model with the entries' values replaced; `vectors` are copied. */
export function withFlat(
  model: Model,
  pieces: readonly (readonly [readonly FlatEntry[], Float32Array])[],
): Model {
  const initializers = new Map<string, LazyTensor>(model.graph.initializers);
  for (const [entries, flat] of pieces) {
    for (const { name, shape, offset, size } of entries) {
      const values = flat.slice(offset, offset + size);
      initializers.set(name, lazyTensor({ dtype: "float32", shape, bytes: bytesOf(values) }));
    }
  }
  return { ...model, graph: { ...model.graph, initializers } };
}

/**
 * The weights as a checkpoint: the model's float initializers by name. PyTorch's BatchNorm also counts batches; where a
 * name ends in `running_var` its `num_batches_tracked` follows, which `load_state_dict(strict=True)` asks for.
 */
export function stateDictOf(model: Model, batchesSeen: number): StateDict {
  const tensors = new Map<string, LazyTensor>();
  for (const [name, value] of model.graph.initializers) {
    if (!value.dtype.startsWith("float")) continue;
    tensors.set(name, value);
    if (!name.endsWith(".running_var")) continue;
    const counter = `${name.slice(0, -"running_var".length)}num_batches_tracked`;
    tensors.set(counter, lazyTensor(int64Tensor([], [batchesSeen])));
  }
  return { tensors, modules: new Map() };
}

export function vectorTensor(values: Float32Array): Tensor {
  return { dtype: "float32", shape: [values.length], bytes: bytesOf(values) };
}

export function scalarTensor(value: number): Tensor {
  return float32Tensor([], [value]);
}

/** The model with its weights in memory, so that the file they came from can be closed. */
export async function decodeInitializers(model: Model): Promise<Model> {
  const initializers = await decodeTensors(model.graph.initializers);
  return { ...model, graph: { ...model.graph, initializers } };
}

/** The same tensors in memory. */
export async function decodeTensors(
  tensors: ReadonlyMap<string, LazyTensor>,
): Promise<Map<string, LazyTensor>> {
  const decoded = new Map<string, LazyTensor>();
  for (const [name, { dtype, shape, read }] of tensors) {
    decoded.set(name, lazyTensor({ dtype, shape, bytes: (await read()).slice() }));
  }
  return decoded;
}
