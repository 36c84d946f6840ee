/** @file Pools and reductions. */

import { elementCount, type Shape } from "../../core/tensor.ts";
import { poolAttributes } from "../../ir/conv-attributes.ts";
import { intAttribute, intsAttribute, nodeLabel } from "../../ir/graph.ts";
import type { Emitter } from "../emitter.ts";
import { div, expand, reshape, scale } from "../vocabulary.ts";
import { resolvePads } from "./conv.ts";
import { convInputGradient } from "./conv-input.ts";
import {
  firstGradient,
  type GradientContext,
  type GradientRule,
  inputShape,
  refuseNode,
} from "./rule.ts";
import { positiveAxis } from "./shape.ts";

const globalAverageRule: GradientRule = (context) => {
  const shape = inputShape(context, 0);
  const share = 1 / elementCount(shape.slice(2));
  return [expand(context.e, scale(context.e, firstGradient(context), share), shape)];
};

const reduceRule =
  (mean: boolean): GradientRule =>
  (context) => {
    const { e, node } = context;
    const shape = inputShape(context, 0);
    const axes = reducedAxes(context, shape);
    const kept = shape.map((n, axis) => (axes.includes(axis) ? 1 : n));
    const share = mean ? 1 / axes.reduce((count, axis) => count * shape[axis]!, 1) : 1;
    if (node.inputs.length > 1 && context.constant(1) === undefined) {
      throw refuseNode(node, "its axes are not constant");
    }
    return [expand(e, reshape(e, scale(e, firstGradient(context), share), kept), shape)];
  };

function reducedAxes(context: GradientContext, shape: Shape): number[] {
  const given = intsAttribute(context.node, "axes") ?? context.constant(1) ?? [];
  if (given.length > 0) return given.map((axis) => positiveAxis(axis, shape.length));
  return intAttribute(context.node, "noop_with_empty_axes", 0) ? [] : shape.map((_, axis) => axis);
}

/** Each output's gradient is shared among the inputs it averaged: a depthwise convolution with equal weights. */
const averagePoolRule: GradientRule = (context) => {
  const { e, node } = context;
  const shape = inputShape(context, 0);
  const window = poolAttributes(node, shape.length - 2, `node ${nodeLabel(node)}`);
  if (intAttribute(node, "ceil_mode", 0)) throw refuseNode(node, "ceil_mode has no gradient rule");
  const pads = resolvePads(window, shape.slice(2));
  const channels = shape[1]!;
  const dy = firstGradient(context);
  const options = { ...window, ...pads, group: channels };
  const counts = countsOf(
    e,
    e.shape(dy),
    shape,
    options,
    !intAttribute(node, "count_include_pad", 0),
  );
  const taps = elementCount(window.kernelShape);
  const ones = e.floats(
    [channels, 1, ...window.kernelShape],
    new Float64Array(channels * taps).fill(1),
  );
  return [convInputGradient(e, div(e, dy, counts), ones, shape, options)];
};

interface PoolOptions {
  readonly kernelShape: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly beginPads: readonly number[];
}

/** `[1, 1, ...outSpace]`: how many elements each output averaged over. */
function countsOf(
  e: Emitter,
  dyShape: Shape,
  xShape: Shape,
  options: PoolOptions,
  realOnly: boolean,
): string {
  if (!realOnly) return e.scalar(elementCount(options.kernelShape));
  const perAxis = dyShape.slice(2).map((size, axis) =>
    Array.from({ length: size }, (_, q) => {
      const first = q * options.strides[axis]! - options.beginPads[axis]!;
      let count = 0;
      for (let tap = 0; tap < options.kernelShape[axis]!; tap++) {
        const i = first + tap * options.dilations[axis]!;
        if (i >= 0 && i < xShape[axis + 2]!) count++;
      }
      return count;
    }),
  );
  let counts = [1];
  for (const axis of perAxis) counts = counts.flatMap((m) => axis.map((n) => m * n));
  return e.floats([1, 1, ...dyShape.slice(2)], Float64Array.from(counts));
}

/** Scatters each gradient to the element that was the maximum; `indices` is the pool's second output. */
export function maxPoolGradient(context: GradientContext, indices: string): string {
  const { e } = context;
  const shape = inputShape(context, 0);
  const size = elementCount(shape);
  const dy = firstGradient(context);
  const flat = [elementCount(e.shape(dy))];
  const zeros = expand(e, e.scalar(0), [size]);
  const scattered = e.node(
    "ScatterElements",
    [zeros, reshape(e, indices, flat), reshape(e, dy, flat)],
    [size],
    { axis: 0, reduction: "add" },
  );
  return reshape(e, scattered, shape);
}

export const POOL_RULES: Readonly<Record<string, GradientRule>> = {
  GlobalAveragePool: globalAverageRule,
  AveragePool: averagePoolRule,
  ReduceMean: reduceRule(true),
  ReduceSum: reduceRule(false),
};
