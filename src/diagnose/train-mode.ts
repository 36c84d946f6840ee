/**
 * @file The graph as PyTorch runs it in train() mode: every batch norm normalizes with the batch's own mean and (biased)
 * variance,  y = γ·(x − mean(x)) / √(var(x) + ε) + β.
 */

import { float32Tensor, int64Tensor, type LazyTensor, lazyTensor } from "../core/tensor.ts";
import { type Attribute, floatAttribute, isOp, type Model, type Node } from "../ir/graph.ts";
import { indexGraph } from "../ir/index-graph.ts";
import { createNameScope } from "../ir/names.ts";

/** Since this version ReduceMean takes its axes as an input. */
const AXES_AS_INPUT = 18;

/** Undefined when there is no batch norm with stored parameters. */
export function inTrainMode(model: Model): Model | undefined {
  const { graph } = model;
  const names = createNameScope(graph);
  const index = indexGraph(graph);
  const initializers = new Map<string, LazyTensor>(graph.initializers);
  const opset = model.opsets.get("") ?? 0;
  let replaced = 0;
  const nodes = graph.nodes.flatMap((node) => {
    if (!isOp(node, "BatchNormalization")) return [node];
    const [x = "", gamma = "", beta = ""] = node.inputs;
    const [g, b] = [graph.initializers.get(gamma), graph.initializers.get(beta)];
    if (!g || !b) return [node];
    replaced++;
    const producer = index.producer(x);
    const rank = producer && isOp(producer, "Gemm") ? 2 : 4;
    const axes = [0, 2, 3].filter((axis) => axis < rank);
    const constant = (name: string, tensor: LazyTensor): string => {
      const taken = names.fresh(name);
      initializers.set(taken, tensor);
      return taken;
    };
    const shaped = (tensor: LazyTensor): LazyTensor => ({
      ...tensor,
      shape: [1, tensor.shape[0] ?? 0, ...Array<number>(rank - 2).fill(1)],
    });
    const made: Node[] = [];
    const add = (
      opType: string,
      inputs: string[],
      attributes: [string, Attribute][] = [],
      output?: string,
    ): string => {
      const name = output ?? names.fresh(`${node.outputs[0]}_train_${opType}`);
      made.push({
        opType,
        domain: "",
        name,
        inputs,
        outputs: [name],
        attributes: new Map(attributes),
      });
      return name;
    };
    const mean = (value: string): string =>
      opset >= AXES_AS_INPUT
        ? add("ReduceMean", [value, constant("axes", lazyTensor(int64Tensor([axes.length], axes)))])
        : add("ReduceMean", [value], [["axes", { type: "ints", value: axes }]]);
    const epsilon = float32Tensor([], [floatAttribute(node, "epsilon", 1e-5)]);
    const centred = add("Sub", [x, mean(x)]);
    const variance = mean(add("Mul", [centred, centred]));
    const spread = add("Add", [variance, constant("epsilon", lazyTensor(epsilon))]);
    const normal = add("Div", [centred, add("Sqrt", [spread])]);
    const scaled = add("Mul", [normal, constant(`${gamma}_train`, shaped(g))]);
    add("Add", [scaled, constant(`${beta}_train`, shaped(b))], [], node.outputs[0]);
    return made;
  });
  return replaced === 0 ? undefined : { ...model, graph: { ...graph, nodes, initializers } };
}
