/**
 * @file The per-channel steps after a block's sum as one factor and one shift per channel,  y = s·Σ + h,  as they should
 * be and with one step left out or folded wrongly.
 */

import { readFloat64 } from "../core/tensor.ts";
import { isOp, type Node } from "../ir/graph.ts";
import type { Anatomy } from "./anatomy.ts";
import { batchNormTensors } from "./branch-edits.ts";

export interface TailFactors {
  readonly kind: string;
  /** `[outC]` each. */
  readonly scale: Float64Array;
  readonly shift: Float64Array;
  /** Magnitudes summed up in `shift`. */
  readonly shiftBound: Float64Array;
}

/** How the tail is read: `""` as it is. */
export async function tailFactors(anatomy: Anatomy, kind: string): Promise<TailFactors> {
  const { outC } = anatomy.affine;
  const result = {
    kind,
    scale: new Float64Array(outC).fill(1),
    shift: new Float64Array(outC),
    shiftBound: new Float64Array(outC),
  };
  for (const node of anatomy.tail) {
    const step = await stepOf(anatomy, node, kind);
    for (const { scale, shift, bound } of step) {
      for (let o = 0; o < outC; o++) {
        result.scale[o]! *= scale[o]!;
        result.shift[o] = result.shift[o]! * scale[o]! + shift[o]!;
        result.shiftBound[o] = result.shiftBound[o]! * Math.abs(scale[o]!) + bound[o]!;
      }
    }
  }
  return result;
}

/** Kinds that change the tail of this block. */
export function tailKinds(anatomy: Anatomy, epsilons: readonly number[]): string[] {
  const norms = anatomy.tail.some((node) => isOp(node, "BatchNormalization"));
  const others = anatomy.tail.some((node) => !isOp(node, "BatchNormalization"));
  return [
    ...(norms ? ["post-bn", "mean", "beta", "gamma", "square-root", "twice"] : []),
    ...(others ? ["scale"] : []),
    ...(norms ? epsilons.map((epsilon) => `epsilon:${epsilon}`) : []),
  ];
}

interface Step {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
  readonly bound: Float64Array;
}

async function stepOf(anatomy: Anatomy, node: Node, kind: string): Promise<Step[]> {
  const { outC } = anatomy.affine;
  if (isOp(node, "BatchNormalization")) {
    if (kind === "post-bn") return [];
    const step = await batchNormStep(anatomy, node, kind);
    return kind === "twice" ? [step, step] : [step];
  }
  if (kind === "scale") return [];
  const first = anatomy.constants.get(node.inputs[0] ?? "");
  const constant = first ?? anatomy.constants.get(node.inputs[1] ?? "");
  const stored = constant ? await readFloat64(constant.tensor) : new Float64Array([0]);
  const operand = new Float64Array(outC).map((_, o) => stored[stored.length === 1 ? 0 : o] ?? 0);
  const ones = new Float64Array(outC).fill(1);
  const zeros = new Float64Array(outC);
  switch (node.opType) {
    case "Mul":
      return [{ scale: operand, shift: zeros, bound: zeros }];
    case "Div":
      return [{ scale: operand.map((value) => 1 / value), shift: zeros, bound: zeros }];
    case "Sub":
      return first
        ? [{ scale: ones.map(() => -1), shift: operand, bound: operand.map(Math.abs) }]
        : [{ scale: ones, shift: operand.map((value) => -value), bound: operand.map(Math.abs) }];
    default:
      return [{ scale: ones, shift: operand, bound: operand.map(Math.abs) }];
  }
}

async function batchNormStep(anatomy: Anatomy, node: Node, kind: string): Promise<Step> {
  const { outC } = anatomy.affine;
  const found = batchNormTensors(anatomy, node)!;
  const [gamma, beta, mean, variance] = (await Promise.all(found.tensors.map(readFloat64))) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const epsilon = kind.startsWith("epsilon:") ? Number(kind.slice(8)) : found.epsilon;
  const scale = new Float64Array(outC);
  const shift = new Float64Array(outC);
  const bound = new Float64Array(outC);
  for (let o = 0; o < outC; o++) {
    const spread = variance[o]! + epsilon;
    const s =
      (kind === "gamma" ? 1 : gamma[o]!) / (kind === "square-root" ? spread : Math.sqrt(spread));
    const b = kind === "beta" ? 0 : beta[o]!;
    const m = kind === "mean" ? 0 : mean[o]!;
    scale[o] = s;
    shift[o] = b - m * s;
    bound[o] = Math.abs(b) + Math.abs(m * s);
  }
  return { scale, shift, bound };
}
