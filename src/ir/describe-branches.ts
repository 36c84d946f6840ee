/**
 * @file A multi-branch block in words: one phrase per branch, e.g. `3×3+bn`, `1×1+bn`, `bn`, read off the block's
 * graph. A chain's operators are joined by `+`, branches inside a branch stand in parentheses.
 */

import { type Graph, intAttribute, intsAttribute, isOp, type Node } from "./graph.ts";
import { indexGraph } from "./index-graph.ts";

/** Values looked at per block; a block of more has lost any resemblance to a sum of branches. */
const MAX_STEPS = 4096;

/** The branches between a region's input and output, in the order of the sum. */
export function describeBranches(
  graph: Pick<Graph, "nodes" | "initializers" | "inputs" | "outputs" | "valueInfos" | "name">,
  input: string,
  output: string,
): string[] {
  const index = indexGraph(graph);
  let steps = 0;
  const isInner = (value: string): boolean => index.producer(value) !== undefined;

  /** The branches that are added up to make `value`. */
  const terms = (value: string): string[] => {
    const node = value === input ? undefined : index.producer(value);
    if (!node || ++steps > MAX_STEPS) return [chain(value)];
    const operands = operandsOf(node);
    if (isOp(node, "Add") && operands.length > 1) return operands.flatMap(terms);
    if (isOp(node, "Identity") && operands[0] !== undefined) return terms(operands[0]);
    return [chain(value)];
  };

  /** The operators from the input to `value`, one after the other. */
  const chain = (value: string): string => {
    const words: string[] = [];
    let at = value;
    while (at !== input && ++steps <= MAX_STEPS) {
      const node = index.producer(at);
      if (!node) break;
      const operands = operandsOf(node);
      if (operands.length > 1) {
        const isSum = isOp(node, "Add");
        const parts = isSum ? terms(at) : operands.map(chain);
        words.push(isSum ? `(${parts.join(" ∥ ")})` : `concat(${parts.join(", ")})`);
        at = input;
        break;
      }
      const word = wordOf(node, graph);
      if (word !== "") words.push(word);
      at = operands[0] ?? input;
    }
    return words.length === 0 ? "identity" : words.reverse().join("+");
  };

  /** What the node reads from the block, constants left out. */
  const operandsOf = (node: Node): string[] =>
    node.inputs.filter((value) => value === input || isInner(value));

  return terms(output);
}

/**
 * What a region's convolutions have in common in their names, e.g. `stage1.0` for `/stage1.0/rbr_dense/conv/Conv` and
 * its sister; else what their kernels' names have in common; `""` if nothing.
 */
export function commonName(nodes: readonly Node[]): string {
  const convs = nodes.filter((node) => isOp(node, "Conv"));
  const shared = (names: readonly string[]): string => {
    const [first = [], ...others] = names.map((name) => name.split(/[./]/).slice(0, -1));
    const end = first.findIndex((part, i) => others.some((parts) => parts[i] !== part));
    return (end < 0 ? first : first.slice(0, end)).filter((part) => part !== "").join(".");
  };
  return (
    shared(convs.map((node) => node.name)) || shared(convs.map((node) => node.inputs[1] ?? ""))
  );
}

function wordOf(node: Node, graph: Pick<Graph, "initializers">): string {
  const shape = graph.initializers.get(node.inputs[1] ?? "")?.shape;
  switch (node.opType) {
    case "Conv":
      return convWord(node, shape);
    case "BatchNormalization":
      return "bn";
    case "AveragePool":
      return `${(intsAttribute(node, "kernel_shape") ?? []).join("×")} average`;
    case "Mul":
    case "Div":
      return "scale";
    case "Add":
    case "Sub":
      return "shift";
    case "Identity":
    case "Dropout":
      return "";
    case "Pad":
    case "PadSelf":
      return "pad";
    default:
      return node.opType.toLowerCase();
  }
}

function convWord(node: Node, shape: readonly number[] | undefined): string {
  const kernel = (shape?.slice(2) ?? intsAttribute(node, "kernel_shape") ?? []).join("×");
  const size = kernel === "" ? "conv" : kernel;
  const dilations = intsAttribute(node, "dilations") ?? [];
  const dilated = dilations.some((d) => d > 1) ? ` dilated ${dilations.join("×")}` : "";
  const group = intAttribute(node, "group", 1);
  const depthwise = group > 1 && shape?.[1] === 1 && shape[0] === group;
  const groups = depthwise ? " depthwise" : group > 1 ? ` in ${group} groups` : "";
  return `${size}${dilated}${groups}`;
}
