/**
 * @file Activation functions. At a kink the gradient is the one of PyTorch: 0 for ReLU at 0, 0 for the clipped ends of
 * Clip, HardSigmoid and HardSwish outside their linear part.
 */

import { floatAttribute, stringAttribute } from "../../ir/graph.ts";
import type { Emitter } from "../emitter.ts";
import {
  add,
  and,
  cast,
  greater,
  less,
  mul,
  reduceSum,
  scale,
  sub,
  sumTo,
  unary,
  where,
} from "../vocabulary.ts";
import { firstGradient, type GradientRule, refuseNode } from "./rule.ts";

/** dy where `low < x < high`, else 0. Infinite ends are left out. */
function between(e: Emitter, x: string, dy: string, low: number, high: number): string {
  const above = Number.isFinite(low) ? greater(e, x, e.scalar(low)) : undefined;
  const below = Number.isFinite(high) ? less(e, x, e.scalar(high)) : undefined;
  const inside = above && below ? and(e, above, below) : (above ?? below);
  return inside === undefined ? dy : where(e, inside, dy, e.scalar(0));
}

/** The output is positive exactly where the input is; reading the output lets the input be freed. */
const reluRule: GradientRule = (context) => {
  const { e, node } = context;
  const [y = ""] = node.outputs;
  // A product with a float mask: onnxruntime's Where takes four times as long on activations (its branches mispredict).
  const positive = cast(e, greater(e, y, e.scalar(0)));
  return [mul(e, firstGradient(context), positive)];
};

const leakyReluRule: GradientRule = (context) => {
  const { e, node } = context;
  const dy = firstGradient(context);
  const positive = greater(e, node.inputs[0] ?? "", e.scalar(0));
  return [where(e, positive, dy, scale(e, dy, floatAttribute(node, "alpha", 0.01)))];
};

const preluRule: GradientRule = (context) => {
  const { e, node } = context;
  const [x = "", slope = ""] = node.inputs;
  const dy = firstGradient(context);
  const positive = greater(e, x, e.scalar(0));
  return [
    context.needs(0) ? where(e, positive, dy, mul(e, dy, slope)) : undefined,
    context.needs(1)
      ? sumTo(e, where(e, positive, e.scalar(0), mul(e, dy, x)), e.shape(slope))
      : undefined,
  ];
};

/** Clip(0, 6) is ReLU6. PyTorch's hardtanh has gradient 0 at both ends. */
const clipRule: GradientRule = (context) => {
  const { e, node } = context;
  const bound = (input: number, none: number): number => {
    if ((node.inputs[input] ?? "") === "") return none;
    const value = context.constant(input);
    if (value?.length !== 1) throw refuseNode(node, "its bounds are not constant");
    return value[0]!;
  };
  const low = bound(1, Number.NEGATIVE_INFINITY);
  const high = bound(2, Number.POSITIVE_INFINITY);
  return [between(e, node.inputs[0] ?? "", firstGradient(context), low, high)];
};

/** σ' = σ·(1 − σ) */
const sigmoidRule: GradientRule = (context) => {
  const { e, node } = context;
  const [y = ""] = node.outputs;
  return [mul(e, mul(e, firstGradient(context), y), sub(e, e.scalar(1), y))];
};

/** tanh' = 1 − tanh² */
const tanhRule: GradientRule = (context) => {
  const { e, node } = context;
  const [y = ""] = node.outputs;
  return [mul(e, firstGradient(context), sub(e, e.scalar(1), mul(e, y, y)))];
};

/** max(0, min(1, α·x + β)): α inside. */
const hardSigmoidRule: GradientRule = (context) => {
  const { e, node } = context;
  const alpha = floatAttribute(node, "alpha", 0.2);
  const [y = ""] = node.outputs;
  return [scale(e, between(e, y, firstGradient(context), 0, 1), alpha)];
};

/** x·max(0, min(1, x/6 + ½)): 0 up to −3, 1 from 3, (2x + 3)/6 between. */
const hardSwishRule: GradientRule = (context) => {
  const { e, node } = context;
  const [x = ""] = node.inputs;
  const dy = firstGradient(context);
  const middle = mul(e, dy, add(e, scale(e, x, 1 / 3), e.scalar(0.5)));
  const above = where(e, less(e, x, e.scalar(3)), middle, dy);
  return [where(e, greater(e, x, e.scalar(-3)), above, e.scalar(0))];
};

const TWO_OVER_SQRT_PI = 2 / Math.sqrt(Math.PI);

/** erf' = 2/√π · e^(−x²) */
const erfRule: GradientRule = (context) => {
  const { e, node } = context;
  const [x = ""] = node.inputs;
  const bell = unary(e, "Exp", unary(e, "Neg", mul(e, x, x)));
  return [mul(e, scale(e, firstGradient(context), TWO_OVER_SQRT_PI), bell)];
};

/** Gelu as one node (opset 20): x·Φ(x), Φ the normal distribution; Gelu' = Φ(x) + x·φ(x). */
const geluRule: GradientRule = (context) => {
  const { e, node } = context;
  if (stringAttribute(node, "approximate", "none") !== "none") {
    throw refuseNode(node, "the tanh approximation has no gradient rule");
  }
  const [x = ""] = node.inputs;
  const erf = unary(e, "Erf", scale(e, x, Math.SQRT1_2));
  const cumulative = scale(e, add(e, erf, e.scalar(1)), 0.5);
  const bell = unary(e, "Exp", scale(e, mul(e, x, x), -0.5));
  const density = scale(e, bell, 1 / Math.sqrt(2 * Math.PI));
  return [mul(e, firstGradient(context), add(e, cumulative, mul(e, x, density)))];
};

/** α·(eˣ − 1) below 0: its slope there is y + α. */
const eluRule: GradientRule = (context) => {
  const { e, node } = context;
  const [x = ""] = node.inputs;
  const [y = ""] = node.outputs;
  const dy = firstGradient(context);
  const below = mul(e, dy, add(e, y, e.scalar(floatAttribute(node, "alpha", 1))));
  return [where(e, greater(e, x, e.scalar(0)), dy, below)];
};

/** softplus' = σ */
const softplusRule: GradientRule = (context) => {
  const { e, node } = context;
  return [mul(e, firstGradient(context), unary(e, "Sigmoid", node.inputs[0] ?? ""))];
};

/** dx = y·(dy − Σ dy·y) along the axis (opset 13: one axis). */
const softmaxRule: GradientRule = (context) => {
  const { e, node } = context;
  const [y = ""] = node.outputs;
  const dy = firstGradient(context);
  const sum = reduceSum(e, mul(e, dy, y), [softmaxAxis(context)]);
  return [mul(e, y, sub(e, dy, sum))];
};

/** dx = dy − softmax·Σ dy */
const logSoftmaxRule: GradientRule = (context) => {
  const { e, node } = context;
  const dy = firstGradient(context);
  const sum = reduceSum(e, dy, [softmaxAxis(context)]);
  return [sub(e, dy, mul(e, unary(e, "Exp", node.outputs[0] ?? ""), sum))];
};

function softmaxAxis(context: Parameters<GradientRule>[0]): number {
  const attribute = context.node.attributes.get("axis");
  const axis = attribute?.type === "int" ? attribute.value : -1;
  const rank = context.e.shape(context.node.outputs[0] ?? "").length;
  return axis < 0 ? axis + rank : axis;
}

export const ACTIVATION_RULES: Readonly<Record<string, GradientRule>> = {
  Relu: reluRule,
  LeakyRelu: leakyReluRule,
  PRelu: preluRule,
  Clip: clipRule,
  Sigmoid: sigmoidRule,
  Tanh: tanhRule,
  HardSigmoid: hardSigmoidRule,
  HardSwish: hardSwishRule,
  Erf: erfRule,
  Gelu: geluRule,
  Elu: eluRule,
  Softplus: softplusRule,
  Softmax: softmaxRule,
  LogSoftmax: logSoftmaxRule,
};
