/** @file A model's graph as a person draws it: a fused part is one node, an activation belongs to what it follows. */

import { weightShape } from "../../../src/algebra/emit.ts";
import { type Graph, intAttribute, intsAttribute, isOp, type Node } from "../../../src/ir/graph.ts";
import type { Plan } from "../../../src/rewrite/plan.ts";

export interface DrawnNode {
  readonly id: number;
  readonly kind: "block" | "operator" | "end";
  /** Of the deploy form, e.g. `3×3, 48 → 96 /2`. */
  readonly label: string;
  /** The node's name in the file, for finding its block. */
  readonly name: string;
  /** Position among the plan's regions. */
  readonly region: number | undefined;
}

export interface DrawnGraph {
  readonly nodes: readonly DrawnNode[];
  readonly edges: readonly (readonly [from: number, to: number])[];
}

const ACTIVATIONS: ReadonlySet<string> = new Set([
  "Relu",
  "LeakyRelu",
  "PRelu",
  "Sigmoid",
  "HardSigmoid",
  "HardSwish",
  "Clip",
  "Elu",
  "Selu",
  "Tanh",
  "Softplus",
  "Gelu",
  "Mish",
]);

export function collapseGraph(graph: Graph, plan: Pick<Plan, "regions">): DrawnGraph {
  const regionOf = new Map<Node, number>();
  for (const [i, { nodes }] of plan.regions.entries())
    for (const node of nodes) regionOf.set(node, i);
  const nodes: DrawnNode[] = [];
  const edges = new Map<string, readonly [number, number]>();
  /** The drawn node that makes a value. */
  const maker = new Map<string, number>();
  const drawnRegion = new Map<number, number>();
  const add = (node: Omit<DrawnNode, "id">): number =>
    nodes.push({ ...node, id: nodes.length }) - 1;
  const connect = (value: string, to: number): void => {
    const from = maker.get(value);
    if (from !== undefined && from !== to) edges.set(`${from} ${to}`, [from, to]);
  };
  for (const { name, shape } of graph.inputs) {
    if (graph.initializers.has(name)) continue;
    const label = `${name}${shape ? ` [${shape.map((n) => n ?? "?").join(", ")}]` : ""}`;
    maker.set(name, add({ kind: "end", label, name, region: undefined }));
  }
  for (const node of graph.nodes) {
    const region = regionOf.get(node);
    const sources = node.inputs.filter((value) => maker.has(value));
    if (region === undefined && sources.length === 0) continue;
    let id = region === undefined ? undefined : drawnRegion.get(region);
    if (id === undefined && region === undefined && isActivation(node) && sources.length === 1) {
      id = maker.get(sources[0]!)!;
      const before = nodes[id]!;
      if (before.kind !== "end")
        nodes[id] = { ...before, label: withActivation(before.label, node.opType) };
      else id = undefined;
    }
    if (id === undefined && region !== undefined) {
      const { emission, nodes: inside } = plan.regions[region]!;
      const shape = weightShape(emission);
      const stride = emission.strides[0] ?? 1;
      const label = convLabel(shape, stride, emission.group);
      const name = inside.at(-1)!.name || inside.at(-1)!.outputs[0]!;
      id = add({ kind: "block", label, name, region });
      drawnRegion.set(region, id);
    }
    id ??= add({
      kind: "operator",
      label: operatorLabel(node, graph),
      name: node.name,
      region: undefined,
    });
    for (const value of sources) connect(value, id);
    for (const output of node.outputs) if (output !== "") maker.set(output, id);
  }
  for (const { name } of graph.outputs) {
    connect(name, add({ kind: "end", label: name, name, region: undefined }));
  }
  return { nodes, edges: [...edges.values()] };
}

function isActivation(node: Node): boolean {
  return node.domain === "" && ACTIVATIONS.has(node.opType);
}

function withActivation(label: string, opType: string): string {
  return label.includes(" + ") ? label : `${label} + ${opType}`;
}

/** `3×3, 48 → 96 /2, 4 groups`: the stride as `inspect` writes it, and short enough for both forms on a phone. */
export function convLabel(shape: readonly number[], stride: number, group: number): string {
  const [outC = 0, perGroup = 0, ...kernel] = shape;
  const size = kernel.length === 0 ? "linear" : kernel.join("×");
  const grouped =
    group === 1 ? "" : group === outC && perGroup === 1 ? ", depthwise" : `, ${group} groups`;
  return `${size}, ${perGroup * group} → ${outC}${stride === 1 ? "" : ` /${stride}`}${grouped}`;
}

function operatorLabel(node: Node, graph: Graph): string {
  const weight = graph.initializers.get(node.inputs[1] ?? "");
  if (isOp(node, "Conv") && weight) {
    const stride = intsAttribute(node, "strides")?.[0] ?? 1;
    return convLabel(weight.shape, stride, intAttribute(node, "group", 1));
  }
  if (isOp(node, "Gemm") && weight) {
    const shape =
      intAttribute(node, "transB", 0) === 1 ? weight.shape : [...weight.shape].reverse();
    return convLabel(shape, 1, 1);
  }
  return node.opType;
}
