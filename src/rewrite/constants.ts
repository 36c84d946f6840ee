/**
 * @file Constant values of a graph: initializers, `Constant` nodes, and operators over them, however the exporter
 * wrote them down. Shapes are known at once; numbers are computed in float64 when someone asks for them.
 */

import type { DType } from "../core/dtype.ts";
import type { LazyTensor } from "../core/tensor.ts";
import { constantTensor } from "../ir/constant-nodes.ts";
import { type Graph, isOp, type Node } from "../ir/graph.ts";
import { FOLDS } from "./fold/table.ts";

export interface Constant {
  readonly name: string;
  /** Its numbers: as stored, or float64 where they are computed. */
  readonly tensor: LazyTensor;
  /** Element type that the value has in the graph. */
  readonly dtype: DType;
  /** Float32 roundings an ordinary evaluation of the expression makes; 0 for stored numbers. */
  readonly roundings: number;
  /** Nodes from here to the stored numbers; 0 for stored numbers themselves. */
  readonly depth: number;
}

/** Deepest folded expression: evaluation recurses once per node, and exporters stay below a hundred. */
export const MAX_FOLD_DEPTH = 512;

/** All constants of a graph by value name. One pass; only sizes (`Reshape`, `Expand` …) are read. */
export async function collectConstants(
  graph: Graph,
  opset: number,
): Promise<Map<string, Constant>> {
  const constants = new Map<string, Constant>();
  for (const [name, stored] of graph.initializers)
    constants.set(name, storedConstant(name, stored));
  for (const node of graph.nodes) {
    const constant = await foldNode(node, opset, (name) => constants.get(name));
    if (constant) constants.set(constant.name, constant);
  }
  return constants;
}

/** The constant that a node makes out of constants; undefined when it is none, or none that we compute. */
export async function foldNode(
  node: Node,
  opset: number,
  known: (name: string) => Constant | undefined,
): Promise<Constant | undefined> {
  const name = node.outputs[0];
  if (!name || node.outputs.length > 1) return undefined;
  if (isOp(node, "Constant")) {
    const stored = constantTensor(node);
    return stored && storedConstant(name, stored);
  }
  const fold = isOp(node, node.opType) ? FOLDS.get(node.opType) : undefined;
  if (!fold || node.inputs.length === 0) return undefined;
  const inputs = node.inputs.map((input) => (input === "" ? undefined : known(input)));
  if (node.inputs.some((input, i) => input !== "" && !inputs[i])) return undefined;
  const deepest = Math.max(...inputs.map((input) => input?.depth ?? 0));
  if (deepest >= MAX_FOLD_DEPTH) return undefined;
  const folded = await fold({ node, opset, inputs });
  if (!folded) return undefined;
  // Another shape of the same numbers costs nothing to read.
  const same = inputs.some((input) => input?.tensor.read === folded.tensor.read);
  const depth = same ? deepest : deepest + 1;
  return { ...folded, name, depth };
}

function storedConstant(name: string, stored: LazyTensor): Constant {
  return { name, tensor: stored, dtype: stored.dtype, roundings: 0, depth: 0 };
}
