/** @file Numbers that a graph stores: initializers, and what `Constant` nodes hold (ONNX operator `Constant`, 1 to 23). */

import { float32Tensor, int64Tensor, type LazyTensor, lazyTensor } from "../core/tensor.ts";
import { type Graph, isOp, type Node } from "./graph.ts";

/** The tensor that a `Constant` node stands for, however it is written; undefined for other nodes, text and sparse tensors. */
export function constantTensor(node: Node): LazyTensor | undefined {
  if (!isOp(node, "Constant")) return undefined;
  for (const [name, { type, value }] of node.attributes) {
    if (type === "tensor" && name === "value") return value;
    if (type === "float" && name === "value_float") return lazyTensor(float32Tensor([], [value]));
    if (type === "floats" && name === "value_floats") {
      return lazyTensor(float32Tensor([value.length], value));
    }
    if (type === "int" && name === "value_int") return lazyTensor(int64Tensor([], [value]));
    if (type === "ints" && name === "value_ints") {
      return lazyTensor(int64Tensor([value.length], value));
    }
  }
  return undefined;
}

/** All of a graph's stored tensors by the name of their value; those inside `If` and `Loop` bodies not. */
export function storedTensors(graph: Graph): Map<string, LazyTensor> {
  const stored = new Map(graph.initializers);
  for (const node of graph.nodes) {
    const value = constantTensor(node);
    const name = node.outputs[0];
    if (value && name) stored.set(name, value);
  }
  return stored;
}
