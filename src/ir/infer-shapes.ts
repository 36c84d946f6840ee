/**
 * @file Types of all values of a graph, node by node through the table of shape rules.
 * What cannot be known stays undefined; a contradiction in the file is an error that names the node.
 */

import { type DType, decodeFloat64 } from "../core/dtype.ts";
import { elementCount, type LazyTensor } from "../core/tensor.ts";
import { constantTensor } from "./constant-nodes.ts";
import { type Dim, type Model, type Node, nodeLabel } from "./graph.ts";
import { type InferredType, MAX_KNOWN_VALUES, UNKNOWN } from "./shape-rules/context.ts";
import { SHAPE_RULES } from "./shape-rules/table.ts";

/** Element type and shape of a value, as far as they are known. */
export interface ValueType {
  readonly dtype: DType | "string" | undefined;
  readonly shape: readonly Dim[] | undefined;
}

/**
 * Types of inputs, initializers and node outputs of the main graph, by name. `inputShapes` replaces declared input
 * shapes; the file's declared shapes of inner values then no longer hold and are not used.
 * Throws `bad-data` where operands do not fit together.
 */
export async function inferShapes(
  model: Model,
  inputShapes?: ReadonlyMap<string, readonly Dim[]>,
): Promise<Map<string, ValueType>> {
  const { graph } = model;
  const opset = model.opsets.get("") ?? 0;
  const types = new Map<string, InferredType>();
  const constants = new Map<string, LazyTensor>(graph.initializers);
  for (const { name, dtype, shape } of graph.inputs) {
    types.set(name, { dtype, shape: inputShapes?.get(name) ?? shape });
  }
  for (const [name, { dtype, shape }] of graph.initializers) types.set(name, { dtype, shape });
  for (const node of graph.nodes) {
    const outputs = await inferNode(node, opset, types, constants);
    node.outputs.forEach((name, i) => {
      if (name === "") return;
      const inferred = outputs[i] ?? UNKNOWN;
      const declared = graph.valueInfos.get(name);
      const shape = inputShapes ? inferred.shape : mergeShapes(inferred.shape, declared?.shape);
      types.set(name, { ...inferred, dtype: inferred.dtype ?? declared?.dtype, shape });
    });
    const value = constantTensor(node);
    if (value && node.outputs[0]) constants.set(node.outputs[0], value);
  }
  return new Map([...types].map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
}

async function inferNode(
  node: Node,
  opset: number,
  types: ReadonlyMap<string, InferredType>,
  constants: ReadonlyMap<string, LazyTensor>,
): Promise<InferredType[]> {
  const rule = node.domain === "" ? SHAPE_RULES.get(node.opType) : undefined;
  if (!rule) return [];
  return rule({
    node,
    opset,
    where: nodeLabel(node),
    input: (index) => types.get(node.inputs[index] ?? "") ?? UNKNOWN,
    values: async (index) => {
      const name = node.inputs[index] ?? "";
      const constant = constants.get(name);
      return types.get(name)?.values ?? (constant && (await smallValues(constant)));
    },
  });
}

/** Elements of a small constant of rank 0 or 1; integers beyond 2^53 (used as "to the end") as the nearest float64. */
async function smallValues(constant: LazyTensor): Promise<readonly Dim[] | undefined> {
  const { dtype, shape } = constant;
  if (shape.length > 1 || elementCount(shape) > MAX_KNOWN_VALUES) return undefined;
  if (dtype === "complex64" || dtype === "complex128" || dtype === "uint64") return undefined;
  const bytes = await constant.read();
  if (dtype !== "int64") return [...decodeFloat64(bytes, dtype)];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: elementCount(shape) }, (_, i) =>
    Number(view.getBigInt64(8 * i, true)),
  );
}

/** Inferred dimensions, filled up with declared ones where the ranks agree. */
function mergeShapes(
  inferred: readonly Dim[] | undefined,
  declared: readonly Dim[] | undefined,
): readonly Dim[] | undefined {
  if (!inferred || inferred.length !== declared?.length) return inferred ?? declared;
  return inferred.map((dim, i) => dim ?? declared[i]);
}
