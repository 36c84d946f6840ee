/**
 * @file The float constants of the graphs inside `If`, `Loop` and `Scan` nodes. Nothing is fused there, so each has to
 * be in the other file bit by bit.
 */

import { isFloatDType } from "../core/dtype.ts";
import type { LazyTensor } from "../core/tensor.ts";
import { constantTensor } from "../ir/constant-nodes.ts";
import type { Graph, Node } from "../ir/graph.ts";

/**
 * By name: a constant of an inner graph is called after the node and the attribute that hold it
 * (`if0.then_branch.weight`); one of `outer` that an inner graph reads keeps its name.
 */
export function subgraphTensors(
  nodes: readonly Node[],
  outer: ReadonlyMap<string, LazyTensor>,
): Map<string, LazyTensor> {
  const found = new Map<string, LazyTensor>();
  const add = (name: string, value: LazyTensor | undefined): void => {
    if (value && isFloatDType(value.dtype)) found.set(name, value);
  };
  const visitBody = (body: Graph, path: string): void => {
    for (const [name, value] of body.initializers) add(`${path}.${name}`, value);
    for (const node of body.nodes) {
      for (const input of node.inputs) add(input, outer.get(input));
      add(`${path}.${node.outputs[0]}`, constantTensor(node));
      visitNode(node, `${path}.`);
    }
  };
  const visitNode = (node: Node, path: string): void => {
    for (const [name, attribute] of node.attributes) {
      if (attribute.type !== "graph") continue;
      visitBody(attribute.value, `${path}${node.name || node.outputs[0]}.${name}`);
    }
  };
  for (const node of nodes) visitNode(node, "");
  return found;
}
