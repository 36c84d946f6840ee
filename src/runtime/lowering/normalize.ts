/**
 * @file Normalizations. Everything per channel is computed in float64 in the order written here.
 *
 *     BatchNormalization     s = γ / √(σ² + ε),  t = β − μ·s,  y = x·s + t
 *     Instance-, GroupNorm   d = x − mean(x),    y = d / √(mean(d²) + ε) · γ + β
 *
 * x·s + t runs as onnxruntime's double BatchNormalization with mean 0, variance 1 and epsilon 0: for those its factors
 * are s/√1 = s and t − 0·s = t exactly, and one pass over x does what Mul and Add do in two. The node's own epsilon
 * cannot go through that kernel, which keeps it as float32.
 */

import { elementCount } from "../../core/tensor.ts";
import { floatAttribute, intAttribute, type Node } from "../../ir/graph.ts";
import type { LoweringContext } from "./context.ts";
import { plainLayout } from "./layout.ts";

/** ONNX's default is the float32 number next to 1e-5. */
const DEFAULT_EPSILON = Math.fround(1e-5);

export function lowerBatchNormalization(ctx: LoweringContext, node: Node): void {
  const [x = "", gamma = "", beta = "", mean = "", variance = ""] = node.inputs;
  if (intAttribute(node, "training_mode", 0) === 1 || node.outputs.slice(1).some((o) => o !== "")) {
    throw ctx.refuse(node, "it is in training mode, its statistics depend on the batch");
  }
  if (ctx.sourceOpset < 9 && intAttribute(node, "spatial", 1) === 0) {
    throw ctx.refuse(node, "spatial = 0 is not supported");
  }
  const channels = ctx.shapeOf(gamma)[0] ?? 0;
  const epsilon = ctx.scalar(floatAttribute(node, "epsilon", DEFAULT_EPSILON));
  const deviation = ctx.emit("Sqrt", [ctx.emit("Add", [variance, epsilon])]);
  const scale = ctx.emit("Div", [gamma, deviation]);
  const shift = ctx.emit("Sub", [beta, ctx.emit("Mul", [mean, scale])]);
  const zeros = ctx.floats(new Float64Array(channels));
  const ones = ctx.floats(new Float64Array(channels).fill(1));
  ctx.emit(
    "BatchNormalization",
    [x, scale, shift, zeros, ones],
    { epsilon: { float: 0 } },
    node.outputs[0]!,
  );
}

export function lowerInstanceNormalization(ctx: LoweringContext, node: Node): void {
  const [x = ""] = node.inputs;
  normalizeGroups(ctx, node, ctx.shapeOf(x)[1] ?? 1);
}

export function lowerGroupNormalization(ctx: LoweringContext, node: Node): void {
  normalizeGroups(ctx, node, intAttribute(node, "num_groups", 1));
}

function normalizeGroups(ctx: LoweringContext, node: Node, groups: number): void {
  const [x = "", gamma = "", beta = ""] = node.inputs;
  const shape = ctx.shapeOf(x);
  const [batch = 0, channels = 0] = shape;
  const size = elementCount(shape.slice(1)) / groups;
  const count = ctx.scalar(size);
  const grouped = ctx.reshape(x, [batch, groups, size]);
  const mean = ctx.emit("Div", [ctx.sum(grouped, [2]), count]);
  const centred = ctx.emit("Sub", [grouped, mean]);
  const square = ctx.emit("Mul", [centred, centred]);
  const variance = ctx.emit("Div", [ctx.sum(square, [2]), count]);
  const epsilon = ctx.scalar(floatAttribute(node, "epsilon", DEFAULT_EPSILON));
  const deviation = ctx.emit("Sqrt", [ctx.emit("Add", [variance, epsilon])]);
  const normal = ctx.emit("Div", [centred, deviation]);
  // γ and β are per channel; per group in GroupNormalization before opset 21.
  const parts = ctx.shapeOf(gamma)[0] ?? channels;
  const split = ctx.reshape(normal, [batch, parts, (groups * size) / parts]);
  const layout = plainLayout([parts, 1]);
  const scaled = ctx.emit("Mul", [split, ctx.laidOut(gamma, layout)]);
  const shifted = ctx.emit("Add", [scaled, ctx.laidOut(beta, layout)]);
  ctx.reshape(shifted, shape, node.outputs[0]!);
}
