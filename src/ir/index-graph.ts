/** @file Who makes a value and who reads it. Built once per graph in one pass. */

import type { Graph, Node } from "./graph.ts";

export interface GraphIndex {
  /** The node that makes a value; undefined for inputs and initializers. */
  producer(value: string): Node | undefined;
  /** The nodes that read a value, once per reading input, subgraphs included (as the node that owns the subgraph). */
  uses(value: string): readonly Node[];
  isOutput(value: string): boolean;
  /** Position in `graph.nodes`. */
  position(node: Node): number;
}

const NO_USES: readonly Node[] = [];

export function indexGraph(graph: Graph): GraphIndex {
  const producers = new Map<string, Node>();
  const uses = new Map<string, Node[]>();
  const positions = new Map<Node, number>();
  const outputs = new Set(graph.outputs.map((output) => output.name));
  const addUse = (value: string, node: Node): void => {
    if (value === "") return;
    const list = uses.get(value);
    if (list) list.push(node);
    else uses.set(value, [node]);
  };
  graph.nodes.forEach((node, position) => {
    positions.set(node, position);
    for (const output of node.outputs) if (output !== "") producers.set(output, node);
    for (const input of node.inputs) addUse(input, node);
    for (const captured of capturedValues(node)) addUse(captured, node);
  });
  return {
    producer: (value) => producers.get(value),
    uses: (value) => uses.get(value) ?? NO_USES,
    isOutput: (value) => outputs.has(value),
    position: (node) => positions.get(node) ?? -1,
  };
}

/** Values of outer scopes that a node's subgraphs read (If, Loop, Scan bodies capture by name). */
export function capturedValues(node: Node): Set<string> {
  const captured = new Set<string>();
  for (const attribute of node.attributes.values()) {
    if (attribute.type !== "graph") continue;
    const body = attribute.value;
    const defined = new Set<string>(body.initializers.keys());
    for (const opaque of body.opaqueInitializers ?? []) defined.add(opaque.name);
    for (const input of body.inputs) defined.add(input.name);
    for (const inner of body.nodes) {
      for (const input of inner.inputs)
        if (input !== "" && !defined.has(input)) captured.add(input);
      for (const outer of capturedValues(inner)) if (!defined.has(outer)) captured.add(outer);
      for (const output of inner.outputs) defined.add(output);
    }
    for (const output of body.outputs) if (!defined.has(output.name)) captured.add(output.name);
  }
  return captured;
}

/** Values that are a graph output, an operand, or captured by an inner graph. */
export function usedValues(graph: Graph): Set<string> {
  const used = new Set(graph.outputs.map((output) => output.name));
  for (const node of graph.nodes) {
    for (const input of node.inputs) used.add(input);
    for (const captured of capturedValues(node)) used.add(captured);
  }
  return used;
}
