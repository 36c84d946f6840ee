/**
 * @file Which rule refusals a person wants to read: those that keep branches from being joined, and normalizations
 * that stay. A convolution that follows another with padding is just a network.
 */

import { isOp, type Node, nodeLabel } from "../ir/graph.ts";
import { isJoint } from "./choose-regions.ts";
import type { Cone } from "./interpret.ts";
import type { Interpreter } from "./interpreter.ts";
import type { Refusal } from "./plan-types.ts";
import { ruleOf } from "./rules/index.ts";

const JOINTS = ["Add", "Concat", "Sub", "Sum"];

/** Nodes looked at behind a refused node to find where it would have joined another branch. */
const MAX_SEARCH_NODES = 128;

/** The nodes of each refusal end with the one that would have joined the branches. */
export function readableRefusals(interpreter: Interpreter, cone: Cone): Refusal[] {
  return cone.refusals.flatMap(({ node, reason }) => {
    const own = isOp(node, "BatchNormalization") || (isJointOperator(node) && isJoint(cone, node));
    const joint = own ? node : jointBehind(interpreter, cone, node);
    if (!joint) return [];
    const output = node.outputs[0] ?? "";
    const nodes = joint === node ? [node] : [node, joint];
    return [{ output, nodes, reason: `${nodeLabel(node)}: ${reason}` }];
  });
}

/** Where what the node makes would have met another branch of the cone. */
function jointBehind({ index, constants }: Interpreter, cone: Cone, from: Node): Node | undefined {
  const own = new Set(from.outputs);
  const queue = [...from.outputs];
  let budget = MAX_SEARCH_NODES;
  for (let at = 0; at < queue.length; at++) {
    for (const node of index.uses(queue[at]!)) {
      if (budget-- <= 0) return undefined;
      // What is written into a border, and where, follows from shapes.
      const writes = isOp(node, "ScatterND") && own.has(node.inputs[0]!);
      const others = writes ? [] : node.inputs.filter((input) => input !== "" && !own.has(input));
      if (!others.every((input) => cone.meanings.has(input) || constants.has(input))) continue;
      if (isJointOperator(node) && others.some((input) => cone.meanings.has(input))) return node;
      if (!ruleOf(node) && !writes) continue;
      for (const output of node.outputs) {
        if (output === "" || own.has(output)) continue;
        own.add(output);
        queue.push(output);
      }
    }
  }
  return undefined;
}

function isJointOperator(node: Node): boolean {
  return isOneOf(node, JOINTS);
}

const LAYERS = ["Conv", "ConvTranspose", "Gemm", "MatMul"];
/** Between a layer and a normalization, in nets whose channels are the last axis. */
const MOVERS = ["Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];
const MAX_MOVERS = 8;
const PARAMETERS = ["scale", "bias", "mean", "variance"];

/**
 * Normalizations behind a layer that no cone reaches, or that have no place in the algebra: a transposed convolution is
 * no convolution of its input, and the channels are axis 1. `fused` are the nodes that regions take.
 */
export function normalizationRefusals(
  interpreter: Interpreter,
  fused: ReadonlySet<Node>,
): Refusal[] {
  return interpreter.graph.nodes.flatMap((node) => {
    if (!isOp(node, "BatchNormalization") || fused.has(node)) return [];
    const reason = normalizationReason(interpreter, node);
    if (reason === undefined) return [];
    return [
      { output: node.outputs[0] ?? "", nodes: [node], reason: `${nodeLabel(node)}: ${reason}` },
    ];
  });
}

function normalizationReason(interpreter: Interpreter, node: Node): string | undefined {
  const { index, constants } = interpreter;
  let before = index.producer(node.inputs[0] ?? "");
  let mover: Node | undefined;
  for (let step = 0; before && isOneOf(before, MOVERS) && step < MAX_MOVERS; step++) {
    mover = before;
    before = index.producer(before.inputs[0] ?? "");
  }
  if (!before || !isOneOf(before, LAYERS)) return undefined;
  if (isOp(before, "ConvTranspose")) {
    return `it normalizes what the transposed convolution ${nodeLabel(before)} makes; only convolutions and linear layers are fused`;
  }
  const open = PARAMETERS.findIndex((_, i) => !constants.has(node.inputs[i + 1] ?? ""));
  if (open >= 0) return `its ${PARAMETERS[open]} ${originOf(interpreter, node.inputs[open + 1])}`;
  const weight = before.inputs[1] ?? "";
  if (!constants.has(weight)) {
    // A product of two values is no layer.
    if (isOp(before, "MatMul")) return undefined;
    return `it normalizes what ${nodeLabel(before)} makes, whose weight ${originOf(interpreter, weight)}`;
  }
  return (
    mover &&
    `it normalizes what ${nodeLabel(before)} makes, but ${nodeLabel(mover)} (${mover.opType}) between them moves the elements; only channels on axis 1 are fused`
  );
}

function originOf({ graph, index }: Interpreter, name = ""): string {
  const producer = index.producer(name);
  if (producer) return `is computed while the model runs (${producer.opType})`;
  const isInput = graph.inputs.some((input) => input.name === name);
  return isInput ? "is an input of the graph" : "is not stored in the model";
}

function isOneOf(node: Node, operators: readonly string[]): boolean {
  return operators.some((op) => isOp(node, op));
}
