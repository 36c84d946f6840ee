/** @file Inner values as additional outputs. */

import { ReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import type { Runtime, SessionOptions } from "./session.ts";

/**
 * The model with `values` added to its outputs; those that are outputs already stay as they are. Their types are left
 * open: onnxruntime infers them. Throws `usage` for a name that no node makes.
 */
export function tapValues(model: Model, values: readonly string[]): Model {
  const { graph } = model;
  const outputs = new Set(graph.outputs.map((output) => output.name));
  const made = new Set(graph.nodes.flatMap((node) => node.outputs));
  const added = [...new Set(values)].filter((name) => !outputs.has(name));
  for (const name of added) {
    if (name !== "" && made.has(name)) continue;
    throw new ReparamError("usage", {
      where: `value ${JSON.stringify(name)}`,
      what: "no node of the model makes it",
    });
  }
  const infos = added.map((name) => ({ name, dtype: undefined, shape: undefined }));
  return { ...model, graph: { ...graph, outputs: [...graph.outputs, ...infos] } };
}

/** Runs `model` once; the result holds its outputs and `values`. */
export async function runWithTaps(
  model: Model,
  runtime: Runtime,
  values: readonly string[],
  inputs: ReadonlyMap<string, Tensor>,
  options: SessionOptions & TaskOptions = {},
): Promise<Map<string, Tensor>> {
  const session = await runtime.createSession(tapValues(model, values), options);
  try {
    return await session.run(inputs, options);
  } finally {
    await session.release();
  }
}
