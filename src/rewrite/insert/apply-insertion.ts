/**
 * @file Carries out an insertion plan. The new tensors are lazy: they are computed when the model is written. Nothing
 * outside the replaced nodes is touched.
 */

import type { LazyTensor } from "../../core/tensor.ts";
import { editGraph } from "../../ir/edit.ts";
import type { Graph, Model, Node } from "../../ir/graph.ts";
import { usedValues } from "../../ir/index-graph.ts";
import { createNameScope } from "../../ir/names.ts";
import { preservingTensors } from "./block-tensors.ts";
import { emitBlock } from "./emit-block.ts";
import { freshTensors } from "./fresh-tensors.ts";
import {
  BLOCK_EPSILON,
  type Insertion,
  type InsertionPlan,
  replacedNodes,
} from "./plan-insertion.ts";

/** A block in the new graph. */
export interface AppliedInsertion {
  readonly insertion: Insertion;
  /** By batch norm key, the value it reads in the new graph. */
  readonly batchNormInputs: ReadonlyMap<string, string>;
  readonly initializers: ReadonlyMap<string, LazyTensor>;
}

export interface InsertedModel {
  readonly model: Model;
  readonly modified: boolean;
  readonly insertions: readonly AppliedInsertion[];
}

/** Throws `usage` if the plan was made for another model. */
export function applyInsertion(model: Model, plan: InsertionPlan): InsertedModel {
  if (plan.insertions.length === 0) return { model, modified: false, insertions: [] };
  const names = createNameScope(model.graph);
  const opset = model.opsets.get("") ?? 0;
  const insertBefore = new Map<Node, readonly Node[]>();
  const removeNodes = new Set<Node>();
  const addInitializers = new Map<string, LazyTensor>();
  const insertions: AppliedInsertion[] = [];
  for (const insertion of plan.insertions) {
    const { found, block } = insertion;
    const { fresh, seed, share } = plan.settings;
    const tensors = fresh
      ? freshTensors(found.name, found.target.dtype, block, { fresh, seed, epsilon: BLOCK_EPSILON })
      : preservingTensors(found.target, block, {
          ...{ seed, share, epsilon: BLOCK_EPSILON },
          statistics: plan.statistics?.get(found.name),
        });
    const replaced = replacedNodes(insertion);
    const place = {
      name: found.name,
      input: found.conv.inputs[0]!,
      output: replaced.at(-1)!.outputs[0]!,
      opset,
    };
    const emitted = emitBlock(block, tensors, place, names);
    for (const node of replaced) removeNodes.add(node);
    insertBefore.set(replaced.at(-1)!, emitted.nodes);
    for (const [name, tensor] of emitted.initializers) addInitializers.set(name, tensor);
    insertions.push({
      insertion,
      batchNormInputs: emitted.batchNormInputs,
      initializers: emitted.initializers,
    });
  }
  const edited = editGraph(model.graph, { removeNodes, insertBefore, addInitializers });
  const graph = dropOrphans(model.graph, edited);
  const listed = model.irVersion >= 4 ? [] : inputsFor(addInitializers);
  return {
    model: { ...model, graph: { ...graph, inputs: [...graph.inputs, ...listed] } },
    modified: true,
    insertions,
  };
}

/** Before IR version 4 every initializer is a graph input as well. */
function inputsFor(tensors: ReadonlyMap<string, LazyTensor>): Graph["inputs"] {
  return [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
}

/** Without the constants (initializers, and nodes that make them) that only the replaced nodes read. */
function dropOrphans(before: Graph, after: Graph): Graph {
  const usedBefore = usedValues(before);
  let graph = after;
  for (;;) {
    const used = usedValues(graph);
    const gone = (name: string): boolean => usedBefore.has(name) && !used.has(name);
    const removeNodes = graph.nodes.filter((node) => node.outputs.every(gone));
    const removeInitializers = [...graph.initializers.keys()].filter(gone);
    if (removeNodes.length === 0 && removeInitializers.length === 0) return graph;
    graph = editGraph(graph, { removeNodes, removeInitializers });
  }
}
