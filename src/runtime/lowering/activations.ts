/**
 * @file Activations without a double kernel (or with an inexact one), from operators that have one. Attributes keep the float32 numbers that
 * the file holds; defaults are ONNX's, which are float32 too.
 *
 * e^x − 1 is taken as tanh(x/2) · (e^x + 1), and ln(1 + e^x) through w = 1 + y as ln(w) · y / (w − 1) (the rounding
 * of w cancels), so that small results keep their relative precision.
 */

import { floatAttribute, type Node, stringAttribute } from "../../ir/graph.ts";
import type { LoweringContext } from "./context.ts";
import { emitErf } from "./erf.ts";

type Rule = (ctx: LoweringContext, node: Node) => void;

/** A rule for `y = f(x)`; `f` emits everything and names the last node's output `y`. */
function unary(f: (ctx: LoweringContext, x: string, y: string, node: Node) => void): Rule {
  return (ctx, node) => f(ctx, node.inputs[0]!, node.outputs[0]!, node);
}

const f32 = Math.fround;

/** max(x, 0) + negative, where `negative` is 0 for x ≥ 0. */
function joinHalves(ctx: LoweringContext, x: string, negative: string, y: string): void {
  ctx.emit("Add", [ctx.emit("Relu", [x]), negative], {}, y);
}

function negativePart(ctx: LoweringContext, x: string): string {
  return ctx.emit("Min", [x, ctx.scalar(0)]);
}

function expm1(ctx: LoweringContext, x: string): string {
  const half = ctx.emit("Tanh", [ctx.emit("Mul", [x, ctx.scalar(0.5)])]);
  return ctx.emit("Mul", [half, ctx.emit("Add", [ctx.emit("Exp", [x]), ctx.scalar(1)])]);
}

/** ln(1 + e^x) = max(x, 0) + ln(1 + e^−|x|) */
function softplus(ctx: LoweringContext, x: string, y?: string): string {
  const one = ctx.scalar(1);
  const small = ctx.emit("Exp", [ctx.emit("Neg", [ctx.emit("Abs", [x])])]);
  const w = ctx.emit("Add", [small, one]);
  const gained = ctx.emit("Sub", [w, one]);
  const isLost = ctx.emit("Equal", [gained, ctx.scalar(0)]);
  const divisor = ctx.emit("Where", [isLost, one, gained]);
  const quotient = ctx.emit("Div", [ctx.emit("Mul", [ctx.emit("Log", [w]), small]), divisor]);
  const log1p = ctx.emit("Where", [isLost, small, quotient]);
  return ctx.emit("Add", [ctx.emit("Relu", [x]), log1p], {}, y);
}

function hardSigmoid(
  ctx: LoweringContext,
  x: string,
  alpha: number,
  beta: number,
  y?: string,
): string {
  const line = ctx.emit("Add", [ctx.emit("Mul", [x, ctx.scalar(alpha)]), ctx.scalar(beta)]);
  return ctx.emit("Clip", [line, ctx.scalar(0), ctx.scalar(1)], {}, y);
}

/** x/2 · (1 + inner) */
function gate(ctx: LoweringContext, x: string, inner: string, y: string): void {
  const half = ctx.emit("Mul", [x, ctx.scalar(0.5)]);
  ctx.emit("Mul", [half, ctx.emit("Add", [inner, ctx.scalar(1)])], {}, y);
}

export const ACTIVATION_RULES: Readonly<Record<string, Rule>> = {
  LeakyRelu: unary((ctx, x, y, node) => {
    const alpha = ctx.scalar(floatAttribute(node, "alpha", f32(0.01)));
    joinHalves(ctx, x, ctx.emit("Mul", [negativePart(ctx, x), alpha]), y);
  }),
  PRelu: unary((ctx, x, y, node) => {
    joinHalves(ctx, x, ctx.emit("Mul", [negativePart(ctx, x), node.inputs[1]!]), y);
  }),
  Elu: unary((ctx, x, y, node) => {
    const alpha = ctx.scalar(floatAttribute(node, "alpha", 1));
    joinHalves(ctx, x, ctx.emit("Mul", [expm1(ctx, negativePart(ctx, x)), alpha]), y);
  }),
  Celu: unary((ctx, x, y, node) => {
    const alpha = ctx.scalar(floatAttribute(node, "alpha", 1));
    const inner = expm1(ctx, ctx.emit("Div", [negativePart(ctx, x), alpha]));
    joinHalves(ctx, x, ctx.emit("Mul", [inner, alpha]), y);
  }),
  Selu: unary((ctx, x, y, node) => {
    const alpha = ctx.scalar(floatAttribute(node, "alpha", f32(1.6732632423543772)));
    const gamma = ctx.scalar(floatAttribute(node, "gamma", f32(1.0507009873554805)));
    const negative = ctx.emit("Mul", [expm1(ctx, negativePart(ctx, x)), alpha]);
    ctx.emit("Mul", [ctx.emit("Add", [ctx.emit("Relu", [x]), negative]), gamma], {}, y);
  }),
  ThresholdedRelu: unary((ctx, x, y, node) => {
    const alpha = ctx.scalar(floatAttribute(node, "alpha", 1));
    ctx.emit("Where", [ctx.emit("Greater", [x, alpha]), x, ctx.scalar(0)], {}, y);
  }),
  HardSigmoid: unary((ctx, x, y, node) => {
    const alpha = floatAttribute(node, "alpha", f32(0.2));
    hardSigmoid(ctx, x, alpha, floatAttribute(node, "beta", 0.5), y);
  }),
  // Its 1/6 is part of the definition, not an attribute: not a float32 number.
  HardSwish: unary((ctx, x, y) => {
    ctx.emit("Mul", [x, hardSigmoid(ctx, x, 1 / 6, 0.5)], {}, y);
  }),
  Softplus: unary((ctx, x, y) => {
    softplus(ctx, x, y);
  }),
  Softsign: unary((ctx, x, y) => {
    const divisor = ctx.emit("Add", [ctx.emit("Abs", [x]), ctx.scalar(1)]);
    ctx.emit("Div", [x, divisor], {}, y);
  }),
  Mish: unary((ctx, x, y) => {
    ctx.emit("Mul", [x, ctx.emit("Tanh", [softplus(ctx, x)])], {}, y);
  }),
  Erf: unary((ctx, x, y) => {
    emitErf(ctx, x, y);
  }),
  Gelu: unary((ctx, x, y, node) => {
    if (stringAttribute(node, "approximate", "none") !== "tanh") {
      gate(ctx, x, emitErf(ctx, ctx.emit("Mul", [x, ctx.scalar(Math.SQRT1_2)])), y);
      return;
    }
    const cube = ctx.emit("Mul", [ctx.emit("Mul", [x, x]), x]);
    const bent = ctx.emit("Add", [x, ctx.emit("Mul", [cube, ctx.scalar(0.044715)])]);
    gate(
      ctx,
      x,
      ctx.emit("Tanh", [ctx.emit("Mul", [bent, ctx.scalar(Math.sqrt(2 / Math.PI))])]),
      y,
    );
  }),
  // The double kernel's error is 2^-53 of 1, not of the result: 0.1 % at x = -30.
  Sigmoid: unary((ctx, x, y) => {
    const power = ctx.emit("Exp", [ctx.emit("Neg", [x])]);
    ctx.emit("Reciprocal", [ctx.emit("Add", [power, ctx.scalar(1)])], {}, y);
  }),
  NonZero: unary((ctx, x, y) => {
    ctx.emit("NonZero", [ctx.emit("Cast", [x], { to: 9 })], {}, y);
  }),
  Mean: (ctx, node) => {
    const sum = ctx.emit("Sum", node.inputs);
    ctx.emit("Div", [sum, ctx.scalar(node.inputs.length)], {}, node.outputs[0]!);
  },
};
