/** @file Shapes of inner values, found by running the model once on zeros: whatever the runtime does, we know it. */

import { DTYPE_BYTES, type DType, decodeFloat64 } from "../core/dtype.ts";
import { ReparamError } from "../core/errors.ts";
import { byteLength, formatShape, type Shape, type Tensor } from "../core/tensor.ts";
import { graphInputs, type Model, type Node, type ValueInfo } from "../ir/graph.ts";
import { createNameScope } from "../ir/names.ts";
import type { Observation } from "./lowering/context.ts";
import type { Runtime } from "./session.ts";

/** Elements of a value that rules may ask for: scales and sizes have one per axis. */
const MAX_VALUE_ELEMENTS = 64;

/**
 * Runs `model` on zeros of `inputShapes` and reports the shapes of `shapesOf` and the elements of `valuesOf`.
 * Throws `usage` when an input's shape is neither given nor fixed in the model.
 */
export async function observe(
  model: Model,
  runtime: Runtime,
  inputShapes: ReadonlyMap<string, Shape>,
  shapesOf: ReadonlySet<string>,
  valuesOf: ReadonlySet<string>,
): Promise<Observation> {
  const shapes = new Map<string, Shape>();
  const values = new Map<string, Float64Array>();
  const inputs = new Map<string, Tensor>();
  for (const input of graphInputs(model.graph)) {
    const shape = resolveShape(input, inputShapes.get(input.name));
    const dtype = numberType(input);
    shapes.set(input.name, shape);
    const count = byteLength({ dtype, shape });
    inputs.set(input.name, { dtype, shape, bytes: new Uint8Array(count) });
  }
  const names = createNameScope(model.graph);
  const nodes: Node[] = [];
  const outputs: ValueInfo[] = [];
  const shapeOutputs = new Map<string, string>();
  for (const value of shapesOf) {
    if (shapes.has(value)) continue;
    const output = names.fresh("observed/shape");
    shapeOutputs.set(value, output);
    nodes.push({
      opType: "Shape",
      domain: "",
      name: "",
      inputs: [value],
      outputs: [output],
      attributes: new Map(),
    });
    outputs.push({ name: output, dtype: "int64", shape: undefined });
  }
  for (const value of valuesOf) outputs.push({ name: value, dtype: undefined, shape: undefined });
  if (outputs.length === 0) return { shapes, values };
  const graph = { ...model.graph, nodes: [...model.graph.nodes, ...nodes], outputs };
  const session = await runtime.createSession({ ...model, graph });
  try {
    const results = await session.run(inputs);
    for (const [value, output] of shapeOutputs) {
      const result = results.get(output);
      if (result) shapes.set(value, [...decodeFloat64(result.bytes, result.dtype)]);
    }
    for (const value of valuesOf) {
      const result = results.get(value);
      if (!result || result.bytes.byteLength > MAX_VALUE_ELEMENTS * DTYPE_BYTES[result.dtype]) {
        throw new ReparamError("refused", {
          where: `value ${JSON.stringify(value)}`,
          what: `expected scales or sizes, at most ${MAX_VALUE_ELEMENTS} numbers`,
        });
      }
      values.set(value, decodeFloat64(result.bytes, result.dtype));
    }
  } finally {
    await session.release();
  }
  return { shapes, values };
}

function numberType(input: ValueInfo): DType {
  if (input.dtype !== undefined && input.dtype !== "string") return input.dtype;
  throw new ReparamError("refused", {
    where: `input ${JSON.stringify(input.name)}`,
    what: `its type is ${input.dtype ?? "no tensor"}, expected a tensor of numbers`,
  });
}

/** The given shape, checked against the declared one; else the declared one if it is fixed. */
function resolveShape(input: ValueInfo, given: Shape | undefined): Shape {
  const where = `input ${JSON.stringify(input.name)}`;
  const declared = input.shape;
  if (given === undefined) {
    if (declared?.every((n) => typeof n === "number")) return declared as Shape;
    throw new ReparamError("usage", {
      where,
      what: `its shape is ${declared ? formatShape(declared) : "unknown"} in the model`,
      fix: "Give a shape for it",
    });
  }
  const fits =
    declared === undefined ||
    (declared.length === given.length &&
      declared.every((n, i) => typeof n !== "number" || n === given[i]));
  if (fits) return given;
  throw new ReparamError("usage", {
    where,
    what: `shape is ${formatShape(given)}, the model has ${formatShape(declared)}`,
  });
}
