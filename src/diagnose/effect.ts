/**
 * @file What one fault does at the output: the exact deploy model against the same model with only this fault's kernels
 * in it, both in float32 on the same inputs.
 */

import { decodeFloat64, encodeFloat64 } from "../core/dtype.ts";
import type { TaskOptions } from "../core/task.ts";
import { elementCount, type LazyTensor, type Tensor } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import type { Runtime } from "../runtime/session.ts";
import { decisions, outputMetrics } from "../verify/metrics.ts";
import type { Kernel } from "../verify/side.ts";
import type { Effect } from "./finding.ts";
import type { ExactDeploy } from "./known-model.ts";

export interface EffectMeter {
  /** Undefined when the model has no place for one of the parts. */
  measure(
    kernels: ReadonlyMap<string, Kernel>,
    tensors: ReadonlyMap<string, LazyTensor>,
  ): Promise<Effect | undefined>;
}

export async function createEffectMeter(
  { model, kernels: places }: ExactDeploy,
  runtime: Runtime,
  inputs: ReadonlyMap<string, Tensor>,
  options: TaskOptions,
): Promise<EffectMeter> {
  const right = await outputsOf(model, runtime, inputs, options);
  return {
    measure: async (kernels, tensors) => {
      const replaced = new Map<string, LazyTensor>();
      for (const [name, kernel] of kernels) {
        const place = places.get(name);
        const weight = place && model.graph.initializers.get(place.weight);
        if (!place || !weight) return undefined;
        replaced.set(place.weight, kernelTensor(kernel, weight));
        const bias =
          place.bias === undefined ? undefined : model.graph.initializers.get(place.bias);
        if (bias) replaced.set(place.bias!, biasTensor(kernel, bias));
      }
      for (const [name, tensor] of tensors) {
        const old = model.graph.initializers.get(name);
        if (!old || old.shape.join() !== tensor.shape.join() || old.dtype !== tensor.dtype)
          return undefined;
        replaced.set(name, tensor);
      }
      const initializers = new Map([...model.graph.initializers, ...replaced]);
      const faulty = { ...model, graph: { ...model.graph, initializers } };
      return compare(right, await outputsOf(faulty, runtime, inputs, options));
    },
  };
}

interface Output {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

function compare(right: readonly Output[], wrong: readonly Output[]): Effect {
  let [relativeL2, maxAbsError] = [0, 0];
  let agreement: number | undefined;
  for (const [i, { data, shape }] of right.entries()) {
    const metrics = outputMetrics(data, wrong[i]!.data);
    // A NaN has to win.
    if (!(metrics.relativeL2 <= relativeL2)) relativeL2 = metrics.relativeL2;
    if (!(metrics.maxAbsError <= maxAbsError)) maxAbsError = metrics.maxAbsError;
    const decided = decisions(data, wrong[i]!.data, shape);
    if (decided && agreement === undefined) agreement = decided.agreeing / decided.total;
  }
  return { relativeL2, maxAbsError, top1Agreement: agreement };
}

async function outputsOf(
  model: Model,
  runtime: Runtime,
  inputs: ReadonlyMap<string, Tensor>,
  options: TaskOptions,
): Promise<Output[]> {
  const session = await runtime.createSession(model);
  try {
    const results = await session.run(inputs, options);
    return model.graph.outputs.map(({ name }) => {
      const { shape, bytes, dtype } = results.get(name)!;
      return { shape, data: decodeFloat64(bytes, dtype) };
    });
  } finally {
    await session.release();
  }
}

/** A kernel's weight as the initializer it stands for (same element type and shape), computed when read. */
function kernelTensor(kernel: Kernel, like: LazyTensor): LazyTensor {
  const outC = kernel.shape[0] ?? 0;
  const rowSize = elementCount(kernel.shape) / Math.max(1, outC);
  return {
    ...like,
    read: async (start = 0, end = elementCount(like.shape)) => {
      const [first, last] = [Math.floor(start / rowSize), Math.ceil(end / rowSize)];
      const { values } = await kernel.rows(first, last, false);
      return encodeFloat64(
        values.slice(start - first * rowSize, end - first * rowSize),
        floatType(like),
      );
    },
  };
}

function biasTensor(kernel: Kernel, like: LazyTensor): LazyTensor {
  return {
    ...like,
    read: async (start = 0, end = elementCount(like.shape)) =>
      encodeFloat64((await kernel.biases()).values.slice(start, end), floatType(like)),
  };
}

function floatType({ dtype }: LazyTensor): "float32" | "float16" | "float64" | "bfloat16" {
  return dtype === "float16" || dtype === "float64" || dtype === "bfloat16" ? dtype : "float32";
}
