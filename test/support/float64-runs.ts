/** @file Runs one-operator models in float64 and compares with bounds that name the worst element. */

import { expect } from "vitest";
import { createRng, type Rng } from "../../src/core/rng.ts";
import {
  elementCount,
  lazyTensor,
  type Shape,
  type Tensor,
  tensor,
} from "../../src/core/tensor.ts";
import { loadNodeRuntime } from "../../src/host/ort-node.ts";
import { type AttributeInputs, createGraphBuilder } from "../../src/ir/builder.ts";
import type { Model } from "../../src/ir/graph.ts";
import { createReference } from "../../src/runtime/reference.ts";
import type { Dense } from "./naive-graph.ts";

export interface OneOp {
  readonly opType: string;
  readonly attributes?: AttributeInputs;
  readonly opset?: number;
  /** The first is the graph's input; the rest are initializers. `undefined` is an omitted input. */
  readonly operands: readonly (Operand | undefined)[];
  /** Give every operand as a graph input, so that none is a constant. */
  readonly allInputs?: boolean;
}

/** An int64 operand. */
export interface IntVector {
  readonly ints: readonly number[];
}

/** A boolean operand. */
export interface BoolVector {
  readonly bools: readonly boolean[];
}

export type Operand = Dense | IntVector | BoolVector;

export const ints = (...values: number[]): IntVector => ({ ints: values });

/** A model of one node: input `x`, further operands `p1`, `p2` …, output `y`. Declared types are float32. */
export function oneOpModel({
  opType,
  attributes = {},
  opset = 17,
  operands,
  allInputs,
}: OneOp): Model {
  const g = createGraphBuilder({ opset });
  const names = operands.map((operand, i) => {
    if (operand === undefined) return "";
    const name = i === 0 ? "x" : `p${i}`;
    if ("ints" in operand) {
      const data = BigInt64Array.from(operand.ints, BigInt);
      return g.initializer(name, lazyTensor(tensor("int64", [data.length], data)));
    }
    if ("bools" in operand) {
      const data = Uint8Array.from(operand.bools, Number);
      return g.initializer(name, lazyTensor(tensor("bool", [data.length], data)));
    }
    if (i === 0 || allInputs) return g.input(name, "float32", operand.shape);
    return g.initializer(name, lazyTensor(tensor("float64", operand.shape, operand.data)));
  });
  const y = g.node(opType, names, attributes, "y");
  g.output(y, "float32", undefined);
  return g.build();
}

/** The model's first output in float64, computed by the lowering. */
export async function runLowered(op: OneOp): Promise<Dense> {
  const inputs = new Map<string, Dense>();
  op.operands.forEach((operand, i) => {
    if (operand === undefined || !("data" in operand)) return;
    if (i === 0 || op.allInputs) inputs.set(i === 0 ? "x" : `p${i}`, operand);
  });
  const shapes = new Map([...inputs].map(([name, { shape }]) => [name, shape]));
  const runtime = await loadNodeRuntime();
  // onnxruntime has no kernels that mix types: for the observing run every float is float32.
  const reference = await createReference(toFloat32(oneOpModel(op)), runtime, shapes, {
    threads: 1,
  });
  try {
    const feeds = new Map([...inputs].map(([name, { data }]) => [name, data]));
    return (await reference.run(feeds)).get("y")!;
  } finally {
    await reference.release();
  }
}

/** The dtype of the first output when the operator itself is given float64, without any lowering. */
export async function float64OfNative(op: OneOp, outputs: number): Promise<string> {
  const { opType, attributes = {}, opset = 17 } = op;
  const model = oneOpModel({ ...op, operands: op.operands });
  const g = createGraphBuilder({ opset });
  const feeds = new Map<string, Tensor>();
  const names = op.operands.map((operand, i) => {
    if (operand && "data" in operand) {
      const name = g.input(`x${i}`, "float64", operand.shape);
      feeds.set(name, tensor("float64", operand.shape, operand.data));
      return name;
    }
    const name = i === 0 ? "x" : `p${i}`;
    const value = model.graph.initializers.get(name);
    return value ? g.initializer(name, value) : "";
  });
  const [y = ""] = g.nodeWithOutputs(opType, names, outputs, attributes, "y");
  const built = g.build();
  const graph = { ...built.graph, outputs: [{ name: y, dtype: undefined, shape: undefined }] };
  const session = await (await loadNodeRuntime()).createSession({ ...built, graph });
  try {
    return (await session.run(feeds)).get(y)!.dtype;
  } finally {
    await session.release();
  }
}

/** The same op by onnxruntime's own float32 kernel. */
export async function runFloat32(op: OneOp): Promise<Dense> {
  const session = await (await loadNodeRuntime()).createSession(toFloat32(oneOpModel(op)));
  const [x] = op.operands;
  if (!x || !("data" in x)) throw new Error("the first operand is the input");
  const result = await session.run(
    new Map([["x", tensor("float32", x.shape, Float32Array.from(x.data))]]),
  );
  const { shape, bytes } = result.get("y")!;
  await session.release();
  return {
    shape,
    data: Float64Array.from(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)),
  };
}

/** Float initializers as float32. */
function toFloat32(model: Model): Model {
  const initializers = new Map(model.graph.initializers);
  for (const [name, value] of initializers) {
    if (value.dtype !== "float64") continue;
    initializers.set(name, {
      dtype: "float32",
      shape: value.shape,
      read: async (start, end) => {
        const bytes = await value.read(start, end);
        const values = new Float64Array(bytes.slice().buffer);
        return new Uint8Array(Float32Array.from(values).buffer);
      },
    });
  }
  return { ...model, graph: { ...model.graph, initializers } };
}

/** Random numbers that float32 holds exactly, so that parameters and references start from the same values. */
export function randomDense(rng: Rng, shape: Shape, low = -1, high = 1): Dense {
  const data = Float64Array.from({ length: elementCount(shape) }, () =>
    Math.fround(rng.uniform(low, high)),
  );
  return { shape, data };
}

export function seeded(seed: number): Rng {
  return createRng(seed);
}

/** Every |found − expected| ≤ bound of that element (a number, or one per element). */
export function expectWithin(found: Dense, expected: Dense, bound: number | Float64Array): void {
  expect([...found.shape]).toEqual([...expected.shape]);
  let worst = -1;
  let excess = 1;
  expected.data.forEach((value, i) => {
    const got = found.data[i]!;
    if (Object.is(got, value) || got === value) return;
    const allowed = typeof bound === "number" ? bound : bound[i]!;
    const ratio = Math.abs(got - value) / allowed;
    if (!(ratio <= excess)) {
      worst = i;
      excess = ratio;
    }
  });
  const at =
    worst < 0
      ? ""
      : `element ${worst}: ${found.data[worst]} is ${excess} bounds from ${expected.data[worst]}`;
  expect(at).toBe("");
}
