/** @file Checks that a model's graphs are well formed: each value made once, before it is read. */

import { badData } from "../core/errors.ts";
import { type Graph, type Model, nodeLabel } from "./graph.ts";

/** Throws `bad-data` naming the node or value. `where` is the file, for messages. */
export function validateModel(model: Model, where = `model ${model.graph.name}`): void {
  validateGraph(model.graph, where);
  for (const domain of usedDomains(model.graph)) {
    if (!model.opsets.has(domain)) {
      throw badData(
        where,
        `a node uses operators of domain ${JSON.stringify(domain)}, which the model does not import`,
      );
    }
  }
}

/** Throws `bad-data` unless the nodes are sorted, every value is made once, and everything that is read exists. */
export function validateGraph(
  graph: Graph,
  where: string,
  outer: (value: string) => boolean = () => false,
): void {
  const defined = new Set<string>();
  for (const input of graph.inputs) define(where, "graph input", input.name, defined);
  const inputs = new Set(defined);
  const constants = [
    ...graph.initializers.keys(),
    ...(graph.opaqueInitializers ?? []).map((opaque) => opaque.name),
  ];
  for (const name of constants) {
    // An input with an initializer of the same name is an input with a default.
    if (!inputs.has(name)) define(where, "initializer", name, defined);
  }
  const isKnown = (value: string): boolean => defined.has(value) || outer(value);
  const produced = new Set<string>();
  for (const node of graph.nodes) for (const output of node.outputs) produced.add(output);
  for (const node of graph.nodes) {
    const label = `${where}: ${nodeLabel(node)}`;
    for (const input of node.inputs) {
      if (input === "" || isKnown(input)) continue;
      throw badData(
        label,
        produced.has(input)
          ? `it reads ${JSON.stringify(input)} before that is made; nodes must be in topological order`
          : `it reads ${JSON.stringify(input)}, which nothing makes`,
      );
    }
    for (const [name, attribute] of node.attributes) {
      if (attribute.type === "graph") {
        validateGraph(attribute.value, `${label}: ${name}`, isKnown);
      }
    }
    for (const output of node.outputs) {
      if (output !== "") define(label, "output", output, defined);
    }
  }
  for (const output of graph.outputs) {
    if (isKnown(output.name)) continue;
    throw badData(where, `graph output ${JSON.stringify(output.name)}, which nothing makes`);
  }
}

function define(where: string, what: string, value: string, defined: Set<string>): void {
  if (value === "") throw badData(where, `${what} without a name`);
  if (defined.has(value)) {
    throw badData(where, `${what} ${JSON.stringify(value)} is already made elsewhere`);
  }
  defined.add(value);
}

function usedDomains(graph: Graph, domains: Set<string> = new Set()): Set<string> {
  for (const node of graph.nodes) {
    domains.add(node.domain);
    for (const attribute of node.attributes.values()) {
      if (attribute.type === "graph") usedDomains(attribute.value, domains);
    }
  }
  return domains;
}
