/** @file Add, Sub, Mul, Div, Sum, Neg, Sqrt, Exp, Log, Pow by a constant: each gradient is summed back over what was broadcast. */

import { div, mul, scale, sumTo, unary } from "../vocabulary.ts";
import {
  firstGradient,
  type GradientContext,
  type GradientRule,
  inputShape,
  refuseNode,
} from "./rule.ts";

/** Sums `gradient()` to the input's shape, if that input's gradient is wanted. */
function toInput(
  context: GradientContext,
  input: number,
  gradient: () => string,
): string | undefined {
  if (!context.needs(input)) return undefined;
  return sumTo(context.e, gradient(), inputShape(context, input));
}

const addRule: GradientRule = (context) => {
  const dy = firstGradient(context);
  return context.node.inputs.map((_, input) => toInput(context, input, () => dy));
};

const subRule: GradientRule = (context) => {
  const dy = firstGradient(context);
  return [toInput(context, 0, () => dy), toInput(context, 1, () => unary(context.e, "Neg", dy))];
};

/** d(a·b) = b·da + a·db */
const mulRule: GradientRule = (context) => {
  const dy = firstGradient(context);
  const [a = "", b = ""] = context.node.inputs;
  return [
    toInput(context, 0, () => mul(context.e, dy, b)),
    toInput(context, 1, () => mul(context.e, dy, a)),
  ];
};

/** d(a/b) = da/b − (a/b)·db/b */
const divRule: GradientRule = (context) => {
  const { e, node } = context;
  const dy = firstGradient(context);
  const b = node.inputs[1] ?? "";
  const quotient = node.outputs[0] ?? "";
  return [
    toInput(context, 0, () => div(e, dy, b)),
    toInput(context, 1, () => unary(e, "Neg", div(e, mul(e, dy, quotient), b))),
  ];
};

const negRule: GradientRule = (context) => [unary(context.e, "Neg", firstGradient(context))];

/** d√x = dx / (2√x) */
const sqrtRule: GradientRule = (context) => {
  const { e, node } = context;
  return [div(e, scale(e, firstGradient(context), 0.5), node.outputs[0] ?? "")];
};

const expRule: GradientRule = (context) => [
  mul(context.e, firstGradient(context), context.node.outputs[0] ?? ""),
];

const logRule: GradientRule = (context) => [
  div(context.e, firstGradient(context), context.node.inputs[0] ?? ""),
];

/** d(x^p) = p·x^(p−1)·dx for a constant p. */
const powRule: GradientRule = (context) => {
  const { e, node } = context;
  const exponent = context.constant(1);
  if (exponent?.length !== 1) throw refuseNode(node, "its exponent is not one constant number");
  const [x = ""] = node.inputs;
  const dy = scale(e, firstGradient(context), exponent[0]!);
  if (exponent[0] === 1) return [dy, undefined];
  const power = exponent[0] === 2 ? x : e.node("Pow", [x, e.scalar(exponent[0]! - 1)], e.shape(x));
  return [mul(e, dy, power), undefined];
};

/** d|x| = sign(x)·dx; 0 at 0. */
const absRule: GradientRule = (context) => [
  mul(context.e, firstGradient(context), unary(context.e, "Sign", context.node.inputs[0] ?? "")),
];

/** d(1/x) = −dx/x² */
const reciprocalRule: GradientRule = (context) => {
  const { e, node } = context;
  const [y = ""] = node.outputs;
  return [unary(e, "Neg", mul(e, firstGradient(context), mul(e, y, y)))];
};

export const ELEMENTWISE_RULES: Readonly<Record<string, GradientRule>> = {
  Add: addRule,
  Sum: addRule,
  Sub: subRule,
  Mul: mulRule,
  Div: divRule,
  Neg: negRule,
  Sqrt: sqrtRule,
  Exp: expRule,
  Log: logRule,
  Pow: powRule,
  Abs: absRule,
  Reciprocal: reciprocalRule,
};
