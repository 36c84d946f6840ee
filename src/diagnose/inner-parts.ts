/**
 * @file What lies inside one branch: the terms of sums further down (RT4KSR's and RepMixer's), and each of several batch
 * norms and convolutions in a row. Faults of one of them alone, as kinds `inner-mean:3`, the number being the part's.
 */

import { isOp, type Node } from "../ir/graph.ts";
import type { Anatomy, Branch, BranchRole } from "./anatomy.ts";
import { type BranchSpec, simpleEdit } from "./branch-edits.ts";

/** One place inside a branch where something can go wrong by itself. */
export interface InnerPart {
  readonly node: Node;
  /** For a sum: which of its operands. */
  readonly operand: number | undefined;
  readonly label: string;
  /** What the operand is beside the sum's others. */
  readonly role: BranchRole;
}

const PREFIX = "inner-";

/** `inner-mean:3` is the kind `mean` at part 3; undefined for kinds of whole branches. */
export function innerKind(
  kind: string,
): { readonly edit: string; readonly at: number } | undefined {
  if (!kind.startsWith(PREFIX)) return undefined;
  const [edit = "", at] = kind.slice(PREFIX.length).split(":");
  return { edit, at: Number(at) };
}

/** In topological order; empty where the branch is one convolution with its batch norm. */
export function innerParts(
  { kernel, input, constants }: Pick<Anatomy, "kernel" | "input" | "constants">,
  { nodes }: Pick<Branch, "nodes">,
): InnerPart[] {
  const norms = nodes.filter((node) => isOp(node, "BatchNormalization"));
  const convs = nodes.filter(isConv);
  const made = new Set([input, ...nodes.flatMap((node) => node.outputs)]);
  const parts: InnerPart[] = [];
  const nameOf = (node: Node): string => {
    const name = node.name || (node.outputs[0] ?? "");
    return name.startsWith(`${kernel.name}.`) ? name.slice(kernel.name.length + 1) : name;
  };
  for (const node of nodes) {
    const whole = { node, operand: undefined, label: nameOf(node), role: "dense" } as const;
    if (norms.length > 1 && norms.includes(node)) parts.push(whole);
    if (convs.length > 1 && convs.includes(node) && (node.inputs[2] ?? "") !== "")
      parts.push(whole);
    if (!isSum(node) || node.inputs.some((value) => !made.has(value) || constants.has(value)))
      continue;
    for (const [operand] of node.inputs.entries()) {
      const own = ownNodes(nodes, node, operand);
      const named = own.find(isConv) ?? own[0];
      const around = ownNodes(nodes, node, operand === 0 ? 1 : 0).find(isConv);
      const label = named ? nameOf(named) : `the path around ${nameOf(around ?? node)}`;
      parts.push({ node, operand, label, role: roleOf(own) });
    }
  }
  return parts;
}

/** Kinds that can be tried at the parts. */
export function innerKinds(parts: readonly InnerPart[]): string[] {
  return parts.flatMap(({ node, operand }, at) => {
    const edits =
      operand !== undefined
        ? isOp(node, "Sub") && operand === 0
          ? []
          : ["missing", "doubled"]
        : isOp(node, "Conv")
          ? ["conv-bias"]
          : ["mean", "beta", "gamma", "square-root", "raw", "twice"];
    return edits.map((edit) => `${PREFIX}${edit}:${at}`);
  });
}

/** The branch with the fault at one part. */
export function editInner(
  spec: BranchSpec,
  kind: { readonly edit: string; readonly at: number },
  anatomy: Anatomy,
  branch: Branch,
): BranchSpec | undefined {
  const part = innerParts(anatomy, branch)[kind.at];
  // Another fault of the same branch may have replaced the node already.
  if (!part || !spec.nodes.includes(part.node)) return undefined;
  const { node, operand } = part;
  if (operand === undefined) return simpleEdit(kind.edit, spec, anatomy, [node]);
  return kind.edit === "missing"
    ? withoutOperand(spec, node, operand)
    : withOperandTwice(spec, node, operand);
}

function isConv(node: Node): boolean {
  return isOp(node, "Conv");
}

function isSum(node: Node): boolean {
  return ["Add", "Sum", "Sub"].some((type) => isOp(node, type)) && node.inputs.length > 1;
}

/** Nodes behind one operand and behind none of the others. */
function ownNodes(nodes: readonly Node[], sum: Node, operand: number): Node[] {
  const behind = (values: readonly string[]): Set<Node> => {
    const found = new Set<Node>();
    const wanted = new Set(values);
    for (const node of nodes.toReversed()) {
      if (!node.outputs.some((output) => wanted.has(output))) continue;
      found.add(node);
      for (const input of node.inputs) wanted.add(input);
    }
    return found;
  };
  const others = behind(sum.inputs.filter((_, i) => i !== operand));
  const own = behind([sum.inputs[operand]!]);
  return nodes.filter((node) => own.has(node) && !others.has(node));
}

function roleOf(own: readonly Node[]): BranchRole {
  if (own.some((node) => isOp(node, "AveragePool"))) return "average";
  const convs = own.filter(isConv);
  if (convs.length === 0) return "identity";
  const sizes = convs.flatMap((node) => {
    const size = node.attributes.get("kernel_shape");
    return size?.type === "ints" ? [...size.value] : [0];
  });
  return sizes.every((size) => size === 1) ? "pointwise" : "dense";
}

function withoutOperand(spec: BranchSpec, sum: Node, operand: number): BranchSpec {
  const inputs = sum.inputs.filter((_, i) => i !== operand);
  if (inputs.length > 1) return replaced(spec, sum, [{ ...sum, inputs }]);
  const [from, to] = [sum.outputs[0]!, inputs[0]!];
  const nodes = spec.nodes
    .filter((node) => node !== sum)
    .map((node) => ({
      ...node,
      inputs: node.inputs.map((input) => (input === from ? to : input)),
    }));
  return { ...spec, nodes, value: spec.value === from ? to : spec.value };
}

function withOperandTwice(spec: BranchSpec, sum: Node, operand: number): BranchSpec {
  const once = `${sum.outputs[0]}~once`;
  const again: Node = { ...sum, inputs: [once, sum.inputs[operand]!] };
  return replaced(spec, sum, [{ ...sum, outputs: [once] }, again]);
}

function replaced(spec: BranchSpec, node: Node, by: readonly Node[]): BranchSpec {
  return { ...spec, nodes: spec.nodes.flatMap((other) => (other === node ? by : [other])) };
}
