/** @file Operators that only move elements: their gradients move them back. */

import { intAttribute, intsAttribute, stringAttribute } from "../../ir/graph.ts";
import type { Emitter } from "../emitter.ts";
import { concat, expand, pad, reshape, slice, sumTo, transpose } from "../vocabulary.ts";
import {
  firstGradient,
  type GradientContext,
  type GradientRule,
  inputShape,
  refuseNode,
} from "./rule.ts";

const identityRule: GradientRule = (context) => [firstGradient(context)];

/** Reshape, Flatten, Squeeze, Unsqueeze. */
const reshapeRule: GradientRule = (context) => [
  reshape(context.e, firstGradient(context), inputShape(context, 0)),
];

const transposeRule: GradientRule = (context) => {
  const rank = inputShape(context, 0).length;
  const perm =
    intsAttribute(context.node, "perm") ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
  const inverse = Array<number>(rank).fill(0);
  for (const [to, from] of perm.entries()) inverse[from] = to;
  return [transpose(context.e, firstGradient(context), inverse)];
};

const concatRule: GradientRule = (context) => {
  const { e, node } = context;
  const dy = firstGradient(context);
  const axis = positiveAxis(intAttribute(node, "axis", 0), e.shape(dy).length);
  let start = 0;
  return node.inputs.map((input, i) => {
    const size = e.shape(input)[axis]!;
    const range = { axis, start, end: start + size };
    start += size;
    return context.needs(i) ? slice(e, dy, [range]) : undefined;
  });
};

const splitRule: GradientRule = (context) => {
  const { e, node, outputGradients } = context;
  const axis = positiveAxis(intAttribute(node, "axis", 0), inputShape(context, 0).length);
  const parts = node.outputs.map(
    (output, i) => outputGradients[i] ?? expand(e, e.scalar(0), e.shape(output)),
  );
  return [concat(e, parts, axis)];
};

/** Puts the gradient back where it was taken from; zeros elsewhere. */
const sliceRule: GradientRule = (context) => {
  const { e, node } = context;
  const shape = inputShape(context, 0);
  const [starts, ends, axes, steps] = [1, 2, 3, 4].map((input) => context.constant(input));
  if (!starts || !ends) throw refuseNode(node, "its starts or ends are not constant");
  const begin = shape.map(() => 0);
  const end = shape.map(() => 0);
  let dy = firstGradient(context);
  for (const [i, rawStart] of starts.entries()) {
    const axis = positiveAxis(axes?.[i] ?? i, shape.length);
    const step = steps?.[i] ?? 1;
    if (step < 1) throw refuseNode(node, `its step ${step} on axis ${axis} is not positive`);
    const size = shape[axis]!;
    dy = spread(e, dy, axis, step);
    begin[axis] = Math.min(Math.max(rawStart < 0 ? rawStart + size : rawStart, 0), size);
    end[axis] = size - begin[axis]! - e.shape(dy)[axis]!;
  }
  return [pad(e, dy, begin, end)];
};

/** Puts `step − 1` zeros between the elements of one axis. */
export function spread(e: Emitter, x: string, axis: number, step: number): string {
  if (step === 1) return x;
  const shape = e.shape(x);
  const open = [...shape.slice(0, axis + 1), 1, ...shape.slice(axis + 1)];
  const after = open.map((_, i) => (i === axis + 1 ? step - 1 : 0));
  const wide = pad(
    e,
    reshape(e, x, open),
    open.map(() => 0),
    after,
  );
  const merged = shape.map((n, i) => (i === axis ? n * step : n));
  return slice(e, reshape(e, wide, merged), [{ axis, start: 0, end: merged[axis]! - (step - 1) }]);
}

const padRule: GradientRule = (context) => {
  const { e, node } = context;
  const mode = stringAttribute(node, "mode", "constant");
  if (mode !== "constant") throw refuseNode(node, `padding mode ${mode} has no gradient rule`);
  const pads = context.constant(1);
  if (!pads) throw refuseNode(node, "its pads are not constant");
  const shape = inputShape(context, 0);
  const given = context.constant(3);
  const axes = given?.map((axis) => positiveAxis(axis, shape.length)) ?? shape.map((_, i) => i);
  if (pads.some((n) => n < 0)) throw refuseNode(node, "negative pads have no gradient rule");
  const ranges = axes.map((axis, i) => ({
    axis,
    start: pads[i]!,
    end: pads[i]! + shape[axis]!,
  }));
  return [slice(e, firstGradient(context), ranges)];
};

const expandRule: GradientRule = (context) => [
  sumTo(context.e, firstGradient(context), inputShape(context, 0)),
];

/** The blocks of DepthToSpace (DCR) and SpaceToDepth are each other's inverse. */
const spaceRule =
  (inverse: "DepthToSpace" | "SpaceToDepth"): GradientRule =>
  (context: GradientContext) => {
    const { e, node } = context;
    if (stringAttribute(node, "mode", "DCR") !== "DCR") {
      throw refuseNode(node, "mode CRD has no gradient rule");
    }
    const blocksize = intAttribute(node, "blocksize", 1);
    return [e.node(inverse, [firstGradient(context)], inputShape(context, 0), { blocksize })];
  };

export function positiveAxis(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

export const SHAPE_RULES: Readonly<Record<string, GradientRule>> = {
  Identity: identityRule,
  // With ratio 0; otherwise the forward pass puts a product with a mask in its place.
  Dropout: identityRule,
  Reshape: reshapeRule,
  Flatten: reshapeRule,
  Squeeze: reshapeRule,
  Unsqueeze: reshapeRule,
  Transpose: transposeRule,
  Concat: concatRule,
  Split: splitRule,
  Slice: sliceRule,
  Pad: padRule,
  Expand: expandRule,
  DepthToSpace: spaceRule("SpaceToDepth"),
  SpaceToDepth: spaceRule("DepthToSpace"),
};
