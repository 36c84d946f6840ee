/** @file Fresh names: for values and nodes that an edit adds to a graph. */

import type { Graph } from "./graph.ts";

export interface NameScope {
  /** `wish` if free, else `wish_1`, `wish_2` …; the result is taken from then on. */
  fresh(wish: string): string;
  has(name: string): boolean;
}

/** Every value and node name of `graph` and its subgraphs is taken. Equal graphs give equal names. */
export function createNameScope(graph?: Graph): NameScope {
  const taken = new Set<string>();
  if (graph) collectNames(graph, taken);
  const next = new Map<string, number>();
  return {
    has: (name) => taken.has(name),
    fresh: (wish) => {
      let name = wish;
      let n = next.get(wish) ?? 1;
      while (name === "" || taken.has(name)) name = `${wish}_${n++}`;
      next.set(wish, n);
      taken.add(name);
      return name;
    },
  };
}

function collectNames(graph: Graph, taken: Set<string>): void {
  for (const name of graph.initializers.keys()) taken.add(name);
  for (const opaque of graph.opaqueInitializers ?? []) taken.add(opaque.name);
  for (const info of [...graph.inputs, ...graph.outputs]) taken.add(info.name);
  for (const node of graph.nodes) {
    if (node.name !== "") taken.add(node.name);
    for (const value of [...node.inputs, ...node.outputs]) taken.add(value);
    for (const attribute of node.attributes.values()) {
      if (attribute.type === "graph") collectNames(attribute.value, taken);
    }
  }
}
