/** @file What a gradient rule is given and what it returns. */

import { ReparamError } from "../../core/errors.ts";
import type { Shape } from "../../core/tensor.ts";
import { type Node, nodeLabel } from "../../ir/graph.ts";
import type { Emitter } from "../emitter.ts";

export interface GradientContext {
  readonly e: Emitter;
  /** The node as it stands in the training graph: its value names are the emitter's. */
  readonly node: Node;
  /** ∂loss/∂output, one entry per output; undefined where the loss does not depend on it. */
  readonly outputGradients: readonly (string | undefined)[];
  /** Whether anything wants ∂loss/∂input. */
  needs(input: number): boolean;
  /** The value of a constant input, e.g. the starts of a Slice; throws `refused` for one that is computed. */
  constant(input: number): readonly number[] | undefined;
}

/** Adds the nodes of the input gradients and returns them, one entry per input. */
export type GradientRule = (context: GradientContext) => (string | undefined)[];

/** Constant tensors of the graph, decoded: small ones only (shapes, pads, bounds). */
export type Constants = ReadonlyMap<string, readonly number[]>;

export function firstGradient(context: GradientContext): string {
  const [gradient] = context.outputGradients;
  if (gradient === undefined) throw refuseNode(context.node, "its first output has no gradient");
  return gradient;
}

export function inputShape(context: GradientContext, input: number): Shape {
  return context.e.shape(context.node.inputs[input] ?? "");
}

export function refuseNode(node: Node, reason: string): ReparamError {
  return new ReparamError("refused", {
    where: `node ${nodeLabel(node)} (${node.opType})`,
    what: reason,
    fix: "Freeze everything before it, or export the model without it",
  });
}

/** Limits what is decoded as a constant: attribute-like tensors are short. */
export const MAX_CONSTANT_ELEMENTS = 65_536;
