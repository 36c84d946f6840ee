/** @file MatMul and Gemm. */

import { floatAttribute, intAttribute } from "../../ir/graph.ts";
import type { Emitter } from "../emitter.ts";
import { matmul, reshape, scale, sumTo, swapLastTwo, transpose } from "../vocabulary.ts";
import { firstGradient, type GradientRule, inputShape, refuseNode } from "./rule.ts";

/** Y = A·B: dA = dY·Bᵀ, dB = Aᵀ·dY, summed over broadcast batch axes. */
const matmulRule: GradientRule = (context) => {
  const { e, node } = context;
  const [a = "", b = ""] = node.inputs;
  const [aShape, bShape] = [inputShape(context, 0), inputShape(context, 1)];
  if (aShape.length < 2 || bShape.length < 2) {
    throw refuseNode(node, "a vector operand has no gradient rule");
  }
  const dy = firstGradient(context);
  const gradientOfB = (): string => {
    if (bShape.length > 2) return sumTo(e, matmul(e, swapLastTwo(e, a), dy), bShape);
    // One product over all rows instead of a batch of products that are summed.
    return matmul(e, transpose(e, rows(e, a), [1, 0]), rows(e, dy));
  };
  return [
    context.needs(0) ? sumTo(e, matmul(e, dy, swapLastTwo(e, b)), aShape) : undefined,
    context.needs(1) ? gradientOfB() : undefined,
  ];
};

/** `[..., k]` as `[rows, k]` */
function rows(e: Emitter, x: string): string {
  const shape = e.shape(x);
  const columns = shape.at(-1)!;
  return reshape(e, x, [shape.slice(0, -1).reduce((m, n) => m * n, 1), columns]);
}

/** Y = α·A′·B′ + β·C, where ′ is a transposition if asked for. */
const gemmRule: GradientRule = (context) => {
  const { e, node } = context;
  const [a = "", b = ""] = node.inputs;
  const alpha = floatAttribute(node, "alpha", 1);
  const dy = firstGradient(context);
  const scaled = scale(e, dy, alpha);
  const transposeA = intAttribute(node, "transA", 0) !== 0;
  const transposeB = intAttribute(node, "transB", 0) !== 0;
  const flip = (value: string): string => transpose(e, value, [1, 0]);
  const gradientOfA = (): string => {
    const right = transposeB ? b : flip(b); // B′ᵀ
    return transposeA ? matmul(e, flip(right), flip(scaled)) : matmul(e, scaled, right);
  };
  const gradientOfB = (): string => {
    const left = transposeA ? a : flip(a); // A′ᵀ
    return transposeB ? matmul(e, flip(scaled), flip(left)) : matmul(e, left, scaled);
  };
  return [
    context.needs(0) ? gradientOfA() : undefined,
    context.needs(1) ? gradientOfB() : undefined,
    context.needs(2)
      ? sumTo(e, scale(e, dy, floatAttribute(node, "beta", 1)), inputShape(context, 2))
      : undefined,
  ];
};

export const MATMUL_RULES: Readonly<Record<string, GradientRule>> = {
  MatMul: matmulRule,
  Gemm: gemmRule,
};
