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
  return JOINTS.some((op) => isOp(node, op));
}

/**
 * Normalizations behind transposed convolutions. They could be folded into the kernel, but a transposed convolution is
 * no convolution of its input, so it has no place in the algebra.
 */
export function transposedRefusals({ graph, index }: Interpreter): Refusal[] {
  return graph.nodes.flatMap((node) => {
    const before = isOp(node, "BatchNormalization") && index.producer(node.inputs[0] ?? "");
    if (!before || !isOp(before, "ConvTranspose")) return [];
    const reason = `${nodeLabel(node)}: it normalizes what the transposed convolution ${nodeLabel(before)} makes; only convolutions and linear layers are fused`;
    return [{ output: node.outputs[0] ?? "", nodes: [node], reason }];
  });
}
