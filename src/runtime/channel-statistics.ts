/**
 * @file Mean and variance per channel of inner values over data: what batch norms placed there would have seen. The
 * sums are made inside the graph, so that no inner value leaves the runtime.
 *
 *     merged over batches of n₁ and n₂ positions (Chan, Golub and LeVeque 1979):
 *     mean = mean₁ + δ·n₂/n,   n·variance = n₁·variance₁ + n₂·variance₂ + δ²·n₁·n₂/n        δ = mean₂ − mean₁
 */

import { decodeFloat64 } from "../core/dtype.ts";
import { internalError, ReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { int64Tensor, type LazyTensor, lazyTensor, type Tensor } from "../core/tensor.ts";
import { toAttribute } from "../ir/builder.ts";
import type { Model, Node, ValueInfo } from "../ir/graph.ts";
import { createNameScope } from "../ir/names.ts";
import type { Runtime } from "./session.ts";

/** `[channels]` each; the variance is the biased one, as batch norm normalises with. */
export interface ChannelMoments {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
}

/**
 * Runs `model` on every batch and reports the moments of `values` (inputs or node outputs `[N, C, ...spatial]` of
 * `rank` axes each).
 *
 * @throws usage without any batch; what creating and running a session throws; aborted
 */
export async function channelMoments(
  model: Model,
  runtime: Runtime,
  values: readonly { readonly name: string; readonly rank: number }[],
  batches: Iterable<ReadonlyMap<string, Tensor>> | AsyncIterable<ReadonlyMap<string, Tensor>>,
  options: TaskOptions = {},
): Promise<Map<string, ChannelMoments>> {
  const probed = probe(model, values);
  const session = await runtime.createSession(probed.model);
  const seen = new Map<string, Accumulator>();
  try {
    for await (const batch of batches) {
      const results = await session.run(batch, options);
      for (const { value, mean, variance, count } of probed.outputs) {
        const numbers = (name: string): Float64Array => {
          const result = results.get(name);
          if (!result) throw internalError(value, `the runtime gave no ${name}`);
          return decodeFloat64(result.bytes, result.dtype);
        };
        const positions = numbers(count).reduce((product, n) => product * n, 1);
        const part = { mean: numbers(mean), variance: numbers(variance) };
        const channels = part.mean.length;
        seen.set(value, merge(seen.get(value), { ...part, count: positions / channels }));
      }
    }
  } finally {
    await session.release();
  }
  if (seen.size < values.length) {
    throw new ReparamError("usage", {
      where: "calibration",
      what: "there is no data, expected at least one batch",
    });
  }
  return new Map([...seen].map(([name, { mean, variance }]) => [name, { mean, variance }]));
}

interface Accumulator extends ChannelMoments {
  /** Positions per channel. */
  readonly count: number;
}

function merge(before: Accumulator | undefined, next: Accumulator): Accumulator {
  if (!before) return next;
  const count = before.count + next.count;
  const share = next.count / count;
  const delta = next.mean.map((m, c) => m - before.mean[c]!);
  return {
    count,
    mean: before.mean.map((m, c) => m + delta[c]! * share),
    variance: before.variance.map(
      (v, c) => v * (1 - share) + next.variance[c]! * share + delta[c]! ** 2 * share * (1 - share),
    ),
  };
}

interface Probed {
  readonly model: Model;
  readonly outputs: readonly {
    readonly value: string;
    readonly mean: string;
    readonly variance: string;
    readonly count: string;
  }[];
}

/** The model with three outputs per value instead of its own: mean, mean square deviation, shape. */
function probe(
  model: Model,
  values: readonly { readonly name: string; readonly rank: number }[],
): Probed {
  const { graph } = model;
  const opset = model.opsets.get("") ?? 0;
  const names = createNameScope(graph);
  const nodes: Node[] = [];
  const initializers = new Map<string, LazyTensor>(graph.initializers);
  const infos: ValueInfo[] = [];
  const emit = (
    opType: string,
    inputs: readonly string[],
    attributes: Record<string, number | number[]> = {},
  ): string => {
    const output = names.fresh(`probe/${opType}`);
    const map = new Map(Object.entries(attributes).map(([k, v]) => [k, toAttribute(k, v)]));
    nodes.push({ opType, domain: "", name: "", inputs, outputs: [output], attributes: map });
    return output;
  };
  const mean = (value: string, rank: number, keepdims: number): string => {
    const axes = [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2)];
    if (opset < 18) return emit("ReduceMean", [value], { axes, keepdims });
    const name = names.fresh("probe/axes");
    initializers.set(name, lazyTensor(int64Tensor([axes.length], axes)));
    return emit("ReduceMean", [value, name], { keepdims });
  };
  const outputs = values.map(({ name: value, rank }) => {
    const center = mean(value, rank, 1);
    const deviation = emit("Sub", [value, center]);
    const square = emit("Mul", [deviation, deviation]);
    return {
      value,
      mean: mean(value, rank, 0),
      variance: mean(square, rank, 0),
      count: emit("Shape", [value]),
    };
  });
  for (const { mean: m, variance, count } of outputs) {
    for (const name of [m, variance, count])
      infos.push({ name, dtype: undefined, shape: undefined });
  }
  const listed =
    model.irVersion >= 4
      ? []
      : [...initializers]
          .filter(([name]) => !graph.initializers.has(name))
          .map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  return {
    outputs,
    model: {
      ...model,
      graph: {
        ...graph,
        inputs: [...graph.inputs, ...listed],
        nodes: [...graph.nodes, ...nodes],
        initializers,
        outputs: infos,
      },
    },
  };
}
