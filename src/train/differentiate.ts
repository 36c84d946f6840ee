/** @file Reverse-mode differentiation over a tape of nodes. */

import type { Node } from "../ir/graph.ts";
import type { Emitter } from "./emitter.ts";
import { addGradients } from "./gradients/phase-convolution.ts";
import type { Constants, GradientRule } from "./gradients/rule.ts";

/** A node of the forward pass, in the emitter's value names. */
export interface TapeNode {
  readonly node: Node;
  /** Undefined: no rule; `assertDifferentiable` names such nodes before anything is emitted. */
  readonly gradient: GradientRule | undefined;
}

export interface DifferentiateOptions {
  /** In execution order. */
  readonly tape: readonly TapeNode[];
  /** ∂loss/∂value where the tape meets the loss. */
  readonly seeds: ReadonlyMap<string, string>;
  /** The values whose gradients are wanted. */
  readonly targets: readonly string[];
  readonly constants: Constants;
}

/** Values that depend on a target: only these carry gradients. */
export function activeValues(
  tape: readonly { readonly node: Node }[],
  targets: Iterable<string>,
): Set<string> {
  const active = new Set(targets);
  for (const { node } of tape) {
    if (node.inputs.some((input) => active.has(input))) {
      for (const output of node.outputs) active.add(output);
    }
  }
  return active;
}

/** Adds the backward pass; a target the seeds do not depend on is missing from the result. */
export function differentiate(e: Emitter, options: DifferentiateOptions): Map<string, string> {
  const { tape, seeds, targets, constants } = options;
  const active = activeValues(tape, targets);
  const parts = new Map<string, string[]>();
  const contribute = (value: string, gradient: string): void => {
    const list = parts.get(value);
    if (list) list.push(gradient);
    else parts.set(value, [gradient]);
  };
  const total = (value: string): string | undefined => {
    const list = parts.get(value);
    if (!list) return undefined;
    const sum = list.reduce((a, b) => addGradients(e, a, b));
    parts.set(value, [sum]);
    return sum;
  };
  for (const [value, gradient] of seeds) contribute(value, gradient);

  for (const { node, gradient } of [...tape].reverse()) {
    if (!node.inputs.some((input) => active.has(input))) continue;
    const outputGradients = node.outputs.map(total);
    if (outputGradients.every((value) => value === undefined)) continue;
    const inputGradients = gradient?.({
      e,
      node,
      outputGradients,
      needs: (input) => active.has(node.inputs[input] ?? ""),
      constant: (input) => constants.get(node.inputs[input] ?? ""),
    });
    for (const [i, value] of (inputGradients ?? []).entries()) {
      const input = node.inputs[i] ?? "";
      if (value !== undefined && active.has(input)) contribute(input, value);
    }
  }
  const gradients = new Map<string, string>();
  for (const target of targets) {
    const gradient = total(target);
    if (gradient !== undefined) gradients.set(target, gradient);
  }
  return gradients;
}
