/** @file Adds constants to a graph as its IR version wants them: before version 4 each is a graph input as well. */

import type { LazyTensor } from "../core/tensor.ts";
import type { Graph } from "../ir/graph.ts";

export function addInitializers(
  graph: Graph,
  added: ReadonlyMap<string, LazyTensor>,
  irVersion: number,
): Graph {
  if (added.size === 0) return graph;
  const listed =
    irVersion >= 4 ? [] : [...added].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  return {
    ...graph,
    inputs: [...graph.inputs, ...listed],
    initializers: new Map([...graph.initializers, ...added]),
  };
}
