/** @file Conv: input, weight and bias gradients. */

import type { Shape } from "../../core/tensor.ts";
import { convAttributes } from "../../ir/conv-attributes.ts";
import { type Node, nodeLabel } from "../../ir/graph.ts";
import type { ConvOptions } from "../convolution.ts";
import { reduceSum } from "../vocabulary.ts";
import { convInputGradient } from "./conv-input.ts";
import { convWeightGradient } from "./conv-weight.ts";
import { firstGradient, type GradientRule, inputShape } from "./rule.ts";

const convRule: GradientRule = (context) => {
  const { e, node } = context;
  const [x = "", weight = ""] = node.inputs;
  const options = resolveConv(node, inputShape(context, 0), inputShape(context, 1));
  const dy = firstGradient(context);
  const space = e
    .shape(dy)
    .map((_, axis) => axis)
    .slice(2);
  return [
    context.needs(0)
      ? convInputGradient(e, dy, weight, inputShape(context, 0), options)
      : undefined,
    context.needs(1)
      ? convWeightGradient(e, x, dy, inputShape(context, 1).slice(2), options)
      : undefined,
    context.needs(2) ? reduceSum(e, dy, [0, ...space], false) : undefined,
  ];
};

/** The node's attributes with `auto_pad` worked out for this input size. */
export function resolveConv(node: Node, xShape: Shape, weightShape: Shape): ConvOptions {
  const attributes = convAttributes(node, weightShape, `node ${nodeLabel(node)}`);
  return { ...attributes, ...resolvePads(attributes, xShape.slice(2)) };
}

interface PadWindow {
  readonly kernelShape: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly beginPads: readonly number[];
  readonly endPads: readonly number[];
  readonly autoPad: "NOTSET" | "SAME_UPPER" | "SAME_LOWER";
}

/** SAME: as many outputs as ⌈size / stride⌉; an odd pad goes to the end (UPPER) or the beginning (LOWER). */
export function resolvePads(
  window: PadWindow,
  size: readonly number[],
): { beginPads: readonly number[]; endPads: readonly number[] } {
  if (window.autoPad === "NOTSET") return window;
  const totals = size.map((n, i) => {
    const reach = window.dilations[i]! * (window.kernelShape[i]! - 1) + 1;
    const stride = window.strides[i]!;
    return Math.max(0, (Math.ceil(n / stride) - 1) * stride + reach - n);
  });
  const small = totals.map((total) => Math.floor(total / 2));
  const large = totals.map((total) => Math.ceil(total / 2));
  return window.autoPad === "SAME_UPPER"
    ? { beginPads: small, endPads: large }
    : { beginPads: large, endPads: small };
}

export const CONV_RULES: Readonly<Record<string, GradientRule>> = { Conv: convRule };
