/**
 * @file Edits of a graph. An edit is described whole, checked whole, and only then made: the result is a new graph,
 * and the old one is untouched. No edit leaves a reference to something that is gone.
 */

import { ReparamError } from "../core/errors.ts";
import type { LazyTensor } from "../core/tensor.ts";
import type { Attribute, Graph, Node, ValueInfo } from "./graph.ts";
import { nodeLabel } from "./graph.ts";
import { validateGraph } from "./validate.ts";

export interface GraphEdit {
  /** Nodes of the graph that go; nothing may read their values afterwards. */
  readonly removeNodes?: Iterable<Node>;
  /** New nodes, in order, before a node of the graph (which may be one that goes). */
  readonly insertBefore?: ReadonlyMap<Node, readonly Node[]>;
  /** New nodes after all others. */
  readonly append?: readonly Node[];
  readonly addInitializers?: ReadonlyMap<string, LazyTensor>;
  /** Constants that go; nothing may read them afterwards. An input of the same name goes with its default. */
  readonly removeInitializers?: Iterable<string>;
  /** Readers of each key read the value instead, in subgraphs too. Graph outputs keep their names: those are refused. */
  readonly replaceAllUses?: ReadonlyMap<string, string>;
  readonly addOutputs?: readonly ValueInfo[];
  readonly addValueInfos?: readonly ValueInfo[];
}

/** The graph after `edit`. Throws `usage` naming the node or value when the edit does not fit the graph. */
export function editGraph(graph: Graph, edit: GraphEdit): Graph {
  const removed = new Set(edit.removeNodes);
  const gone = new Set(edit.removeInitializers);
  const renames = edit.replaceAllUses ?? new Map<string, string>();
  const insert = edit.insertBefore ?? new Map<Node, readonly Node[]>();
  assertFits(graph, edit, removed, gone);

  const nodes: Node[] = [];
  for (const node of graph.nodes) {
    for (const added of insert.get(node) ?? []) nodes.push(added);
    if (!removed.has(node)) nodes.push(renameUses(node, renames));
  }
  nodes.push(...(edit.append ?? []));

  const initializers = new Map<string, LazyTensor>(graph.initializers);
  for (const name of gone) initializers.delete(name);
  for (const [name, tensor] of edit.addInitializers ?? []) initializers.set(name, tensor);

  const made = new Set(nodes.flatMap((node) => node.outputs));
  const remade = new Set<Node>([...[...insert.values()].flat(), ...(edit.append ?? [])]);
  const changed = new Set([...remade].flatMap((node) => node.outputs));
  const valueInfos = new Map<string, ValueInfo>();
  for (const [name, info] of graph.valueInfos) {
    // A declared type holds for the value that was there; one made anew may have another.
    if (made.has(name) && !changed.has(name)) valueInfos.set(name, info);
  }
  for (const info of edit.addValueInfos ?? []) valueInfos.set(info.name, info);

  const result: Graph = {
    ...graph,
    inputs: graph.inputs.filter((input) => !gone.has(input.name)),
    outputs: [...graph.outputs, ...(edit.addOutputs ?? [])],
    nodes,
    initializers,
    valueInfos,
  };
  try {
    validateGraph(result, `graph ${graph.name}`);
  } catch (cause) {
    if (!(cause instanceof ReparamError)) throw cause;
    throw new ReparamError("usage", {
      where: "editGraph",
      what: `the edit would leave a broken graph (${cause.message})`,
      cause,
    });
  }
  return result;
}

function assertFits(
  graph: Graph,
  edit: GraphEdit,
  removed: ReadonlySet<Node>,
  gone: ReadonlySet<string>,
): void {
  const present = new Set(graph.nodes);
  for (const node of [...removed, ...(edit.insertBefore?.keys() ?? [])]) {
    if (!present.has(node)) throw misfit(`node ${nodeLabel(node)} is not in the graph`);
  }
  for (const name of gone) {
    if (!graph.initializers.has(name)) throw misfit(`${name} is not an initializer of the graph`);
  }
  for (const name of edit.addInitializers?.keys() ?? []) {
    if (graph.initializers.has(name) && !gone.has(name)) {
      throw misfit(`initializer ${name} already exists`);
    }
  }
  const outputs = new Set(graph.outputs.map((output) => output.name));
  for (const [from, to] of edit.replaceAllUses ?? []) {
    if (outputs.has(from)) {
      throw misfit(`${from} is a graph output, whose name is kept; make ${to} under that name`);
    }
    if (edit.replaceAllUses?.has(to)) throw misfit(`${to} is both replaced and a replacement`);
  }
}

function misfit(what: string): ReparamError {
  return new ReparamError("usage", { where: "editGraph", what });
}

/** The node reading other values; the same object when nothing changes. */
function renameUses(node: Node, renames: ReadonlyMap<string, string>): Node {
  if (renames.size === 0) return node;
  const inputs = node.inputs.map((name) => renames.get(name) ?? name);
  let attributes: Map<string, Attribute> | undefined;
  for (const [name, attribute] of node.attributes) {
    if (attribute.type !== "graph") continue;
    const body = renameInBody(attribute.value, renames);
    if (body === attribute.value) continue;
    attributes ??= new Map(node.attributes);
    attributes.set(name, { ...attribute, value: body });
  }
  if (!attributes && inputs.every((name, i) => name === node.inputs[i])) return node;
  return { ...node, inputs, attributes: attributes ?? node.attributes };
}

/** The same for a subgraph; names that it defines itself hide those outside. */
function renameInBody(body: Graph, renames: ReadonlyMap<string, string>): Graph {
  const own = new Set([
    ...body.inputs.map((input) => input.name),
    ...body.initializers.keys(),
    ...(body.opaqueInitializers ?? []).map((opaque) => opaque.name),
    ...body.nodes.flatMap((node) => node.outputs),
  ]);
  const visible = new Map([...renames].filter(([from]) => !own.has(from)));
  if (visible.size === 0) return body;
  for (const to of visible.values()) {
    if (own.has(to)) throw misfit(`${to} has another meaning inside subgraph ${body.name}`);
  }
  const nodes = body.nodes.map((node) => renameUses(node, visible));
  const outputs = body.outputs.map((output) => {
    const name = visible.get(output.name);
    return name === undefined ? output : { ...output, name };
  });
  const same =
    nodes.every((node, i) => node === body.nodes[i]) &&
    outputs.every((output, i) => output === body.outputs[i]);
  return same ? body : { ...body, nodes, outputs };
}
