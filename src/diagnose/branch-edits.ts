/** @file Faults of one branch that change its nodes or parameters: what the code that fused it may have done wrong. */

import { decodeFloat64, encodeFloat64 } from "../core/dtype.ts";
import { elementCount, type LazyTensor, type Shape } from "../core/tensor.ts";
import { type Attribute, floatAttribute, isOp, type Node } from "../ir/graph.ts";
import type { Anatomy, Branch } from "./anatomy.ts";

/** A branch as nodes that may be changed. */
export interface BranchSpec {
  readonly nodes: readonly Node[];
  readonly initializers: ReadonlyMap<string, LazyTensor>;
  readonly value: string;
}

/** The four parameters of a batch norm and its epsilon. */
export interface BatchNormTensors {
  /** γ, β, running mean, running variance */
  readonly tensors: readonly [LazyTensor, LazyTensor, LazyTensor, LazyTensor];
  readonly epsilon: number;
}

export function specOf(anatomy: Anatomy, branch: Branch): BranchSpec {
  return { nodes: branch.nodes, initializers: anatomy.graph.initializers, value: branch.value };
}

export function batchNormsOf(nodes: readonly Node[]): Node[] {
  return nodes.filter((node) => isOp(node, "BatchNormalization"));
}

export function batchNormTensors(
  { constants }: Pick<Anatomy, "constants">,
  node: Node,
): BatchNormTensors | undefined {
  const found = [1, 2, 3, 4].map((i) => constants.get(node.inputs[i] ?? "")?.tensor);
  const [gamma, beta, mean, variance] = found;
  if (!gamma || !beta || !mean || !variance) return undefined;
  return {
    tensors: [gamma, beta, mean, variance],
    epsilon: floatAttribute(node, "epsilon", 1e-5),
  };
}

/** Inputs of BatchNormalization. */
const [GAMMA, BETA, MEAN, VARIANCE] = [1, 2, 3, 4] as const;

export function withEpsilon(spec: BranchSpec, epsilon: number): BranchSpec {
  return mapBatchNorms(spec, (node) => setEpsilon(node, epsilon));
}

function setEpsilon(node: Node, epsilon: number): Node {
  const attribute: Attribute = { type: "float", value: epsilon };
  return { ...node, attributes: new Map(node.attributes).set("epsilon", attribute) };
}

/** σ² where σ was meant: s = γ / (σ² + ε), as the variance (σ² + ε)² with ε 0. */
function withoutSquareRoot(
  spec: BranchSpec,
  anatomy: Anatomy,
  only: readonly Node[] = batchNormsOf(spec.nodes),
): BranchSpec {
  return only.reduce((changed, node) => {
    const variance = tensorOf(changed, anatomy, node.inputs[VARIANCE]!);
    if (!variance) return changed;
    const epsilon = floatAttribute(node, "epsilon", 1e-5);
    const squared = mapTensor(variance, (v) => (v + epsilon) ** 2);
    return replaceNode(
      ...withInput(changed, node, VARIANCE, squared, (edited) => setEpsilon(edited, 0)),
    );
  }, spec);
}

/** Every batch norm applied twice. */
function withBatchNormTwice(
  spec: BranchSpec,
  only: readonly Node[] = batchNormsOf(spec.nodes),
): BranchSpec {
  let { nodes } = spec;
  for (const node of only) {
    const inner = `${node.outputs[0]}~once`;
    const first = { ...node, outputs: [inner] };
    const second = { ...node, inputs: [inner, ...node.inputs.slice(1)] };
    nodes = nodes.flatMap((other) => (other === node ? [first, second] : [other]));
  }
  return { ...spec, nodes };
}

/** Convolutions without the bias that stands before a batch norm. */
function withoutConvBias(spec: BranchSpec, only?: readonly Node[]): BranchSpec {
  const nodes = spec.nodes.map((node) =>
    isOp(node, "Conv") && node.inputs.length > 2 && (!only || only.includes(node))
      ? { ...node, inputs: node.inputs.slice(0, 2) }
      : node,
  );
  return { ...spec, nodes };
}

export function hasConvBias(nodes: readonly Node[]): boolean {
  return nodes.some((node) => isOp(node, "Conv") && (node.inputs[2] ?? "") !== "");
}

/** Nodes that multiply by, or add, constants; the last of their inputs that is inner goes through. */
export function scaleNodes(
  nodes: readonly Node[],
  { constants }: Pick<Anatomy, "constants">,
): Node[] {
  const types = ["Mul", "Div", "Add", "Sub"];
  return nodes.filter(
    (node) =>
      types.some((type) => isOp(node, type)) && node.inputs.some((input) => constants.has(input)),
  );
}

export function withoutNodes(
  spec: BranchSpec,
  gone: readonly Node[],
  constants?: Anatomy["constants"],
): BranchSpec {
  let { nodes, value } = spec;
  for (const node of gone) {
    const from = node.outputs[0]!;
    const current = nodes.find((other) => other.outputs[0] === from)!;
    const to = current.inputs.find((input) => !constants?.has(input)) ?? current.inputs[0]!;
    nodes = nodes
      .filter((other) => other !== current)
      .map((other) => ({
        ...other,
        inputs: other.inputs.map((input) => (input === from ? to : input)),
      }));
    if (value === from) value = to;
  }
  return { ...spec, nodes, value };
}

/** The branch with another's batch norm; both have exactly one. */
export function withBatchNormOf(spec: BranchSpec, other: BatchNormTensors): BranchSpec {
  const node = batchNormsOf(spec.nodes)[0];
  if (!node) return spec;
  let changed = spec;
  let current = node;
  for (const [i, tensor] of other.tensors.entries()) {
    const [next, from, to] = withInput(changed, current, i + 1, tensor, (edited) => edited);
    changed = replaceNode(next, from, to);
    current = to;
  }
  return replaceNode(changed, current, setEpsilon(current, other.epsilon));
}

/** Every element changed, in float64. */
function mapTensor(tensor: LazyTensor, change: (value: number) => number): LazyTensor {
  const count = elementCount(tensor.shape);
  return {
    dtype: "float64",
    shape: tensor.shape,
    read: async (start = 0, end = count) =>
      encodeFloat64(
        decodeFloat64(await tensor.read(start, end), tensor.dtype).map(change),
        "float64",
      ),
  };
}

export function constantTensor(shape: Shape, value: number): LazyTensor {
  const count = elementCount(shape);
  return {
    dtype: "float64",
    shape,
    read: async (start = 0, end = count) =>
      encodeFloat64(new Float64Array(end - start).fill(value), "float64"),
  };
}

function refill(
  spec: BranchSpec,
  input: number,
  value: number,
  anatomy: Anatomy,
  only: readonly Node[] = batchNormsOf(spec.nodes),
): BranchSpec {
  return only.reduce((changed, node) => {
    const shape = tensorOf(changed, anatomy, node.inputs[input]!)?.shape ?? [];
    return replaceNode(...withInput(changed, node, input, constantTensor(shape, value)));
  }, spec);
}

function tensorOf(spec: BranchSpec, { constants }: Anatomy, name: string): LazyTensor | undefined {
  return spec.initializers.get(name) ?? constants.get(name)?.tensor;
}

function withInput(
  spec: BranchSpec,
  node: Node,
  input: number,
  tensor: LazyTensor,
  then: (node: Node) => Node = (edited) => edited,
): [BranchSpec, Node, Node] {
  const name = `${node.outputs[0]}~${input}~${spec.initializers.size}`;
  const initializers = new Map(spec.initializers).set(name, tensor);
  const edited = { ...node, inputs: node.inputs.map((old, i) => (i === input ? name : old)) };
  return [{ ...spec, initializers }, node, then(edited)];
}

function replaceNode(spec: BranchSpec, from: Node, to: Node): BranchSpec {
  return { ...spec, nodes: spec.nodes.map((node) => (node === from ? to : node)) };
}

function mapBatchNorms(spec: BranchSpec, change: (node: Node) => Node): BranchSpec {
  const nodes = spec.nodes.map((node) => (isOp(node, "BatchNormalization") ? change(node) : node));
  return { ...spec, nodes };
}

/** The branch under a fault of its batch norms or convolutions: of all, or of `only` one. Undefined for other kinds. */
export function simpleEdit(
  kind: string,
  spec: BranchSpec,
  anatomy: Anatomy,
  only?: readonly Node[],
): BranchSpec | undefined {
  switch (kind) {
    case "mean":
      return refill(spec, MEAN, 0, anatomy, only);
    case "beta":
      return refill(spec, BETA, 0, anatomy, only);
    case "gamma":
      return refill(spec, GAMMA, 1, anatomy, only);
    case "square-root":
      return withoutSquareRoot(spec, anatomy, only);
    case "raw":
      return withoutNodes(spec, only ?? batchNormsOf(spec.nodes));
    case "twice":
      return withBatchNormTwice(spec, only);
    case "conv-bias":
      return withoutConvBias(spec, only);
    default:
      return undefined;
  }
}
