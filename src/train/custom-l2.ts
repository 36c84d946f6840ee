/**
 * @file RepVGG's L2 penalty on the equivalent kernel (`get_custom_L2` of the origin, §1.4 of its history): the ring of
 * the 3×3 kernel is penalised as it is, the centre as the sum of both branches, each with its BatchNorm's scale t.
 *
 *     L = Σ_ring K₃² + Σ (t₃·K₃ᶜ + t₁·K₁)² / (t₃² + t₁²)        t = γ/√(σ² + ε), held constant; loss += λ/2 · L
 */

import { ReparamError } from "../core/errors.ts";
import { floatAttribute, isOp, type Model, type Node } from "../ir/graph.ts";
import { indexGraph } from "../ir/index-graph.ts";
import type { Emitter } from "./emitter.ts";
import { add, div, mul, pad, reduceSum, reshape, scale, slice, sub, unary } from "./vocabulary.ts";

export interface Penalty {
  /** Rank 0, already times λ/2. */
  readonly value: string;
  /** ∂penalty/∂weight by weight name. */
  readonly gradients: ReadonlyMap<string, string>;
}

const DENSE = /^(.*)\.rbr_dense\.conv\.weight$/;

/**
 * @param weights the trained weights' values by name
 * @param statistics the running statistics' values by name
 */
export function customL2Penalty(
  e: Emitter,
  model: Model,
  weights: ReadonlyMap<string, string>,
  statistics: ReadonlyMap<string, string>,
  factor: number,
): Penalty {
  const gradients = new Map<string, string>();
  const parts: string[] = [];
  const batchNormOf = batchNormAfter(model);
  for (const [name, dense] of weights) {
    const prefix = DENSE.exec(name)?.[1];
    const pointwiseName = `${prefix}.rbr_1x1.conv.weight`;
    const pointwise = weights.get(pointwiseName);
    if (prefix === undefined || pointwise === undefined) continue;
    const scaleOf = (weight: string): string => {
      const node = batchNormOf(weight);
      const gamma = weights.get(node?.inputs[1] ?? "");
      const variance = statistics.get(node?.inputs[4] ?? "");
      if (!node || gamma === undefined || variance === undefined) {
        throw new ReparamError("usage", {
          where: `customL2: ${weight}`,
          what: "no trained BatchNormalization follows it",
          fix: "Use weight decay",
        });
      }
      const epsilon = e.scalar(floatAttribute(node, "epsilon", 1e-5));
      const t = div(e, gamma, unary(e, "Sqrt", add(e, variance, epsilon)));
      return reshape(e, t, [e.shape(gamma)[0]!, 1, 1, 1]);
    };
    const [t3, t1] = [scaleOf(name), scaleOf(pointwiseName)];
    const centre = slice(e, dense, [
      { axis: 2, start: 1, end: 2 },
      { axis: 3, start: 1, end: 2 },
    ]);
    const ring = sub(e, dense, pad(e, centre, [0, 0, 1, 1], [0, 0, 1, 1]));
    const sum = add(e, mul(e, centre, t3), mul(e, pointwise, t1));
    const weight = add(e, mul(e, t3, t3), mul(e, t1, t1));
    const shared = div(e, sum, weight);
    const total = (x: string): string => reduceSum(e, x, [0, 1, 2, 3], false);
    parts.push(add(e, total(mul(e, ring, ring)), total(mul(e, sum, shared))));
    const centreGradient = pad(e, mul(e, shared, t3), [0, 0, 1, 1], [0, 0, 1, 1]);
    gradients.set(name, scale(e, add(e, ring, centreGradient), factor));
    gradients.set(pointwiseName, scale(e, mul(e, shared, t1), factor));
  }
  if (parts.length === 0) {
    throw new ReparamError("usage", {
      where: "customL2",
      what: "the model has no block with rbr_dense and rbr_1x1 kernels",
      fix: "Use weight decay",
    });
  }
  return {
    value: scale(
      e,
      parts.reduce((a, b) => add(e, a, b)),
      factor / 2,
    ),
    gradients,
  };
}

/** The BatchNormalization that reads the convolution a weight belongs to. */
function batchNormAfter(model: Model): (weight: string) => Node | undefined {
  const index = indexGraph(model.graph);
  return (weight) => {
    const [conv] = index.uses(weight);
    return index.uses(conv?.outputs[0] ?? "").find((node) => isOp(node, "BatchNormalization"));
  };
}
