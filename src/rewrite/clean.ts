/**
 * @file Makes a graph pretty without changing what it computes: `Constant` nodes become initializers, `Identity`
 * nodes disappear, and what nothing reads is dropped. A pass of its own, run after fusing and optional.
 */

import type { LazyTensor } from "../core/tensor.ts";
import { constantTensor } from "../ir/constant-nodes.ts";
import { type Graph, isOp, type Model, type Node } from "../ir/graph.ts";
import { capturedValues, indexGraph } from "../ir/index-graph.ts";
import { validateModel } from "../ir/validate.ts";
import { addInitializers } from "./initializers.ts";

export interface PassResult {
  readonly model: Model;
  readonly modified: boolean;
}

export function cleanModel(model: Model): PassResult {
  const stored = constantsToInitializers(model.graph, model.irVersion);
  const graph = dropDead(removeIdentities(stored));
  const modified =
    graph.nodes.length !== model.graph.nodes.length ||
    graph.initializers.size !== model.graph.initializers.size;
  if (!modified) return { model, modified };
  const result = { ...model, graph };
  validateModel(result);
  return { model: result, modified };
}

function constantsToInitializers(graph: Graph, irVersion: number): Graph {
  const added = new Map<string, LazyTensor>();
  const nodes = graph.nodes.filter((node) => {
    const value = constantTensor(node);
    const output = node.outputs[0];
    if (!value || output === undefined) return true;
    added.set(output, value);
    return false;
  });
  return addInitializers({ ...graph, nodes }, added, irVersion);
}

/** Readers of an Identity's output read its input instead. Graph outputs keep their name, so those stay. */
function removeIdentities(graph: Graph): Graph {
  const index = indexGraph(graph);
  const outer = new Set(graph.nodes.flatMap((node) => [...capturedValues(node)]));
  const source = new Map<string, string>();
  const nodes: Node[] = [];
  for (const node of graph.nodes) {
    const [input, output] = [node.inputs[0], node.outputs[0]];
    const removable =
      isOp(node, "Identity") && input && output && !index.isOutput(output) && !outer.has(output);
    if (removable) source.set(output, source.get(input) ?? input);
    else nodes.push(node);
  }
  if (source.size === 0) return graph;
  return {
    ...graph,
    nodes: nodes.map((node) => ({
      ...node,
      inputs: node.inputs.map((input) => source.get(input) ?? input),
    })),
  };
}

/** Nodes and initializers that no output depends on. */
function dropDead(graph: Graph): Graph {
  const needed = new Set(graph.outputs.map((output) => output.name));
  const kept: Node[] = [];
  for (const node of [...graph.nodes].reverse()) {
    if (!node.outputs.some((output) => needed.has(output))) continue;
    kept.push(node);
    for (const input of node.inputs) needed.add(input);
    for (const captured of capturedValues(node)) needed.add(captured);
  }
  const nodes = kept.reverse();
  const made = new Set(nodes.flatMap((node) => node.outputs));
  return {
    ...graph,
    nodes,
    initializers: new Map([...graph.initializers].filter(([name]) => needed.has(name))),
    inputs: graph.inputs.filter(
      (input) => needed.has(input.name) || !graph.initializers.has(input.name),
    ),
    valueInfos: new Map([...graph.valueInfos].filter(([name]) => made.has(name))),
  };
}
