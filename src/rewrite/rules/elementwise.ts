/** @file BatchNormalization, and Add, Sub, Mul, Div, Sum, Neg with branches or per-channel constants. */

import { add, subtract } from "../../algebra/add.ts";
import { type Affine, isRefused, type Refused } from "../../algebra/affine.ts";
import type { Parameter } from "../../algebra/parameter.ts";
import { batchNorm, negate, scale, shift } from "../../algebra/scale-shift.ts";
import { floatAttribute, intAttribute } from "../../ir/graph.ts";
import {
  channelParameter,
  type Rule,
  type RuleContext,
  type RuleResult,
  refuse,
  single,
  toParameter,
} from "./context.ts";

const NOT_PER_CHANNEL = "the constant does not act per channel";

export const batchNormRule: Rule = async (context) => {
  const v = context.operand(0);
  const constants = [1, 2, 3, 4].map((i) => context.constant(i));
  const [gamma, beta, mean, variance] = constants;
  if (!v || !gamma || !beta || !mean || !variance)
    return refuse("its statistics are not constants");
  if (intAttribute(context.node, "training_mode", 0) === 1) {
    return refuse("it is in training mode and uses the batch's own statistics");
  }
  if (context.opset < 7 && intAttribute(context.node, "is_test", 0) === 0) {
    return refuse("it is in training mode (is_test is 0)");
  }
  if (context.opset < 9 && intAttribute(context.node, "spatial", 1) === 0) {
    return refuse("it normalizes every position by itself (spatial is 0)");
  }
  if (context.node.outputs.slice(1).some((output) => output !== "")) {
    return refuse("its running statistics are outputs");
  }
  for (const constant of [gamma, beta, mean, variance]) {
    const { shape } = constant.tensor;
    if (shape.length === 1 && shape[0] === v.outC) continue;
    return refuse(`${constant.name} is [${shape.join(", ")}], the value has ${v.outC} channels`);
  }
  // ONNX's default epsilon is 1e-5, kept as a float32 in the file.
  const epsilon = floatAttribute(context.node, "epsilon", 1e-5);
  return single(
    batchNorm(v, {
      gamma: toParameter(gamma),
      beta: toParameter(beta),
      mean: toParameter(mean),
      variance: toParameter(variance),
      epsilon,
    }),
  );
};

export const addRule: Rule = async (context) => binary(context, add, (v, c) => shift(v, c));

export const subRule: Rule = async (context) => {
  if (context.operand(0)) return binary(context, subtract, (v, c) => shift(v, c, -1));
  return binary(context, subtract, (v, c) => shift(negate(v), c));
};

export const mulRule: Rule = async (context) =>
  binary(context, () => refuse("it multiplies two values of the region"), scale);

export const divRule: Rule = async (context) => {
  if (!context.operand(0)) return refuse("it divides by a value of the region");
  return binary(
    context,
    () => refuse("it divides two values of the region"),
    (v, c) => scale(v, reciprocal(c)),
  );
};

export const negRule: Rule = async (context) => {
  const v = context.operand(0);
  return v ? [negate(v)] : refuse("it negates a constant");
};

/** Variadic sum; constants among its inputs act per channel. */
export const sumRule: Rule = async (context) => {
  let total: Affine | undefined;
  const constants: number[] = [];
  for (const i of context.node.inputs.keys()) {
    const v = context.operand(i);
    if (!v) {
      constants.push(i);
      continue;
    }
    const next: Affine | Refused = total ? add(total, v) : v;
    if (isRefused(next)) return next;
    total = next;
  }
  if (!total) return refuse("a sum of nothing");
  for (const i of constants) {
    const constant = context.constant(i);
    const parameter = constant && channelParameter(constant, total);
    if (!parameter) return refuse(NOT_PER_CHANNEL);
    total = shift(total, parameter);
  }
  return [total];
};

function reciprocal(c: Parameter): Parameter {
  return {
    ...c,
    read: async (begin, end) => (await c.read(begin, end)).map((value) => 1 / value),
  };
}

function binary(
  context: RuleContext,
  ofValues: (a: Affine, b: Affine) => Affine | Refused,
  ofConstant: (v: Affine, c: Parameter) => Affine,
): RuleResult {
  const [a, b] = [context.operand(0), context.operand(1)];
  if (a && b) return single(ofValues(a, b));
  const v = a ?? b;
  const constant = context.constant(a ? 1 : 0);
  if (!v || !constant) return refuse("an operand is neither of the region nor a constant");
  const parameter = channelParameter(constant, v);
  return parameter ? [ofConstant(v, parameter)] : refuse(NOT_PER_CHANNEL);
}
