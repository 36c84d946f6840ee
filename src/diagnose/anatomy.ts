/**
 * @file A block's graph taken apart: the branches that are summed, and the per-channel steps after the sum. Hypotheses
 * change one of these parts at a time; the engine gives the changed part its meaning again.
 */

import type { Affine } from "../algebra/affine.ts";
import { type Graph, isOp, type Model, type Node } from "../ir/graph.ts";
import { indexGraph } from "../ir/index-graph.ts";
import type { Constant } from "../rewrite/constants.ts";
import { interpretCone } from "../rewrite/interpret.ts";
import { createInterpreter, type Root } from "../rewrite/interpreter.ts";
import { rootOf } from "../rewrite/root.ts";
import type { Kernel } from "../verify/side.ts";
import { cachedTensor } from "./cached-tensor.ts";

export type BranchRole = "dense" | "pointwise" | "smaller" | "identity" | "average";

export interface Branch {
  /** The module path inside the block, e.g. `rbr_1x1`, or the node's name. */
  readonly label: string;
  readonly role: BranchRole;
  /** The value it makes; the block's input itself for a bare identity. */
  readonly value: string;
  /** In topological order. */
  readonly nodes: readonly Node[];
  readonly affine: Affine;
}

export interface Anatomy {
  readonly kernel: Kernel;
  readonly graph: Graph;
  readonly input: string;
  readonly opset: number;
  readonly root: Root;
  readonly constants: ReadonlyMap<string, Constant>;
  /** At least one. */
  readonly branches: readonly Branch[];
  /** Nodes after the sum, in order: BatchNormalization, or Mul, Div, Add, Sub with a constant. */
  readonly tail: readonly Node[];
  /** The whole block. */
  readonly affine: Affine;
  /** The group count of the deploy kernel. */
  readonly group: number;
}

/** Undefined when the kernel is not made of a graph. `model` is the ONNX model of a region. */
export async function dissect(
  kernel: Kernel,
  model: Model | undefined,
): Promise<Anatomy | undefined> {
  const source = sourceOf(kernel, model);
  if (!source) return undefined;
  const { graph, input, output, opset } = source;
  const interpreter = await createInterpreter(graph, opset);
  const root = rootOf(interpreter, input);
  if (!root) return undefined;
  const cone = await interpretCone(interpreter, input, root);
  const affine = cone.meanings.get(output);
  if (!affine) return undefined;
  const { index, constants } = interpreter;
  const isInner = (value: string): boolean => cone.meanings.has(value);
  const { terms, tail } = topSum(output, (value) => index.producer(value), isInner);
  const taps = affine.axes.map((axis) => axis.taps.count);
  const nodesOf = terms.map((value) =>
    nodesBehind([value], input, graph).filter((node) => isInner(node.outputs[0] ?? "")),
  );
  const shared = sharedPath(nodesOf, kernel.name);
  const branches = terms.map((value, i): Branch => {
    const nodes = nodesOf[i]!;
    const meaning = cone.meanings.get(value)!;
    return {
      label: labelOf(nodes, shared),
      role: roleOf(nodes, meaning, taps),
      value,
      nodes,
      affine: meaning,
    };
  });
  return {
    kernel,
    graph,
    input,
    opset,
    root,
    constants,
    branches: withDistinctLabels(branches),
    tail,
    affine,
    group: source.group,
  };
}

/** A branch's meaning after a change of its nodes. Undefined when the changed graph has none. */
export async function interpretChanged(
  anatomy: Anatomy,
  nodes: readonly Node[],
  initializers: Graph["initializers"],
  value: string,
): Promise<Affine | undefined> {
  const graph = { ...anatomy.graph, nodes: [...constantNodes(anatomy), ...nodes], initializers };
  const interpreter = await createInterpreter(graph, anatomy.opset);
  const cone = await interpretCone(interpreter, anatomy.input, anatomy.root);
  return cone.meanings.get(value);
}

/** Nodes that only make constants; every branch may need them. */
function constantNodes({ graph, constants }: Anatomy): Node[] {
  return graph.nodes.filter((node) => node.outputs.every((output) => constants.has(output)));
}

interface BlockSource {
  readonly graph: Graph;
  readonly input: string;
  readonly output: string;
  readonly opset: number;
  readonly group: number;
}

function sourceOf({ block, region }: Kernel, model: Model | undefined): BlockSource | undefined {
  if (block) {
    const { graph, input, output, group } = block.block;
    return { graph: withCache(graph), input, output, group, opset: 17 };
  }
  if (!region || !model) return undefined;
  const nodes = nodesBehind(
    [...region.nodes.flatMap((node) => node.inputs), region.output],
    region.input,
    model.graph,
  );
  const read = new Set(nodes.flatMap((node) => node.inputs));
  const initializers = new Map([...model.graph.initializers].filter(([name]) => read.has(name)));
  const inputs = model.graph.inputs.filter((info) => info.name === region.input);
  return {
    graph: withCache({ ...model.graph, inputs, nodes, initializers, outputs: [] }),
    input: region.input,
    output: region.output,
    group: region.emission.group,
    opset: model.opsets.get("") ?? 0,
  };
}

function withCache(graph: Graph): Graph {
  const initializers = new Map(
    [...graph.initializers].map(([name, tensor]) => [name, cachedTensor(tensor)]),
  );
  return { ...graph, initializers };
}

/** Producers of `values` and of what those read, down to `input`, in graph order. */
function nodesBehind(values: readonly string[], input: string, graph: Graph): Node[] {
  const { producer, position } = indexGraph(graph);
  const found = new Set<Node>();
  const stack = [...values];
  for (let value = stack.pop(); value !== undefined; value = stack.pop()) {
    const node = value === input ? undefined : producer(value);
    if (!node || found.has(node)) continue;
    found.add(node);
    stack.push(...node.inputs);
  }
  return [...found].sort((a, b) => position(a) - position(b));
}

/** The terms of the outermost sum, and the per-channel nodes after it. One term and no tail where there is no sum. */
function topSum(
  output: string,
  producer: (value: string) => Node | undefined,
  isInner: (value: string) => boolean,
): { terms: string[]; tail: Node[] } {
  const tail: Node[] = [];
  let value = output;
  for (;;) {
    const node = producer(value);
    if (!node) break;
    const operands = node.inputs.filter(isInner);
    if (isSum(node) && operands.length > 1 && operands.length === node.inputs.length) {
      return { terms: operands.flatMap((operand) => termsOf(operand, producer, isInner)), tail };
    }
    if (operands.length !== 1 || !isPerChannel(node)) break;
    if (!isOp(node, "Identity") && !isOp(node, "Dropout")) tail.unshift(node);
    value = operands[0]!;
  }
  return { terms: [output], tail: [] };
}

function termsOf(
  value: string,
  producer: (value: string) => Node | undefined,
  isInner: (value: string) => boolean,
): string[] {
  const node = producer(value);
  if (!node?.inputs.some(isInner)) return [value];
  if (isOp(node, "Identity") && isInner(node.inputs[0]!)) {
    return termsOf(node.inputs[0]!, producer, isInner);
  }
  return isSum(node) && node.inputs.every(isInner)
    ? node.inputs.flatMap((input) => termsOf(input, producer, isInner))
    : [value];
}

function isSum(node: Node): boolean {
  return isOp(node, "Add") || isOp(node, "Sum");
}

const PER_CHANNEL = new Set("BatchNormalization Mul Div Add Sub Identity Dropout".split(" "));

function isPerChannel(node: Node): boolean {
  return PER_CHANNEL.has(node.opType);
}

function roleOf(nodes: readonly Node[], meaning: Affine, blockTaps: readonly number[]): BranchRole {
  if (nodes.some((node) => isOp(node, "AveragePool"))) return "average";
  if (!nodes.some((node) => isOp(node, "Conv") || isOp(node, "Gemm") || isOp(node, "MatMul"))) {
    return "identity";
  }
  const counts = meaning.axes.map((axis) => axis.taps.count);
  if (counts.every((count, i) => count === blockTaps[i])) return "dense";
  return counts.every((count) => count === 1) ? "pointwise" : "smaller";
}

/** The name of the branch's first convolution or batch norm; `""` without one. */
function pathOf(nodes: readonly Node[]): string {
  const named = nodes.find((node) => isOp(node, "Conv") || isOp(node, "BatchNormalization"));
  return named?.name ?? "";
}

/** What comes before a branch's own name: the block's, or (graphs name other nodes) what all branches share. */
function sharedPath(terms: readonly (readonly Node[])[], blockName: string): string {
  const paths = terms.map(pathOf).filter((path) => path !== "");
  const own = `${blockName}.`;
  if (blockName !== "" && paths.every((path) => path.startsWith(own))) return own;
  const [first = "", ...rest] = paths;
  let length = 0;
  for (let at = 0; at < first.length; at++) {
    if (rest.some((path) => path[at] !== first[at])) break;
    if (first[at] === "." || first[at] === "/") length = at + 1;
  }
  return rest.length === 0 ? "" : first.slice(0, length);
}

/** `stage1.0.rbr_dense.conv` in block `stage1.0` gives `rbr_dense`. */
function labelOf(nodes: readonly Node[], shared: string): string {
  const path = pathOf(nodes);
  if (path === "") return nodes.length === 0 ? "identity" : (nodes.at(-1)?.outputs[0] ?? "");
  return path.slice(shared.length).replace(/[./](conv|bn|weight|Conv|BatchNormalization)$/, "");
}

function withDistinctLabels(branches: readonly Branch[]): Branch[] {
  const seen = new Map<string, number>();
  return branches.map((branch) => {
    const count = (seen.get(branch.label) ?? 0) + 1;
    seen.set(branch.label, count);
    return count === 1 ? branch : { ...branch, label: `${branch.label} (${count})` };
  });
}
