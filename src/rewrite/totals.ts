/** @file Nodes, stored numbers and multiply-accumulates of a whole graph, before and after a plan. */

import { isFloatDType } from "../core/dtype.ts";
import { elementCount, type LazyTensor } from "../core/tensor.ts";
import { storedTensors } from "../ir/constant-nodes.ts";
import { type Graph, intAttribute, isOp, type Model, type Node } from "../ir/graph.ts";
import type { ValueType } from "../ir/infer-shapes.ts";
import { applyPlan } from "./apply.ts";
import { cleanModel } from "./clean.ts";
import type { GraphTotals, Plan } from "./plan-types.ts";

type Types = ReadonlyMap<string, ValueType>;

export function graphTotals(graph: Graph, types: Types): GraphTotals {
  const stored = storedTensors(graph);
  let parameters = 0;
  for (const tensor of stored.values()) {
    if (isFloatDType(tensor.dtype)) parameters += elementCount(tensor.shape);
  }
  let macs: number | undefined = 0;
  for (const node of graph.nodes) {
    const own = nodeMacs(node, types, stored);
    macs = macs === undefined || own === undefined ? undefined : macs + own;
  }
  return { nodes: graph.nodes.length, parameters, macs };
}

/** Values that stay keep their names, so the types of the graph before hold for the graph after. */
export function totalsAfter(model: Model, plan: Pick<Plan, "regions">, types: Types): GraphTotals {
  return graphTotals(cleanModel(applyPlan(model, plan).model).model.graph, types);
}

/** For one image; 0 for operators without a kernel, undefined where a size is missing. */
function nodeMacs(
  node: Node,
  types: Types,
  stored: ReadonlyMap<string, LazyTensor>,
): number | undefined {
  const isConv = isOp(node, "Conv") || isOp(node, "ConvTranspose");
  if (!isConv && !isOp(node, "Gemm") && !isOp(node, "MatMul")) return 0;
  const weight = node.inputs[1] ?? "";
  const kernel = stored.get(weight)?.shape ?? numbers(types.get(weight)?.shape);
  // A transposed convolution spreads each input position, the others gather each output position.
  const over = isOp(node, "ConvTranspose") ? node.inputs[0] : node.outputs[0];
  const shape = types.get(over ?? "")?.shape;
  if (!kernel || !shape) return undefined;
  if (isConv) {
    const positions = numbers(shape.slice(2));
    return positions && elementCount(kernel) * elementCount(positions);
  }
  const features = isOp(node, "Gemm")
    ? kernel[intAttribute(node, "transB", 0)]
    : kernel.at(kernel.length > 1 ? -2 : 0);
  const outputs = numbers(shape.slice(1));
  return features === undefined || !outputs ? undefined : features * elementCount(outputs);
}

function numbers(shape: readonly unknown[] | undefined): number[] | undefined {
  return shape?.every((n): n is number => typeof n === "number") ? [...shape] : undefined;
}
