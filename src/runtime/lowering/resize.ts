/**
 * @file Resize and Upsample ⇒ one Gather (nearest) or one MatMul with an interpolation matrix (linear, cubic) per axis.
 * The matrices (`ir/resample.ts`) are computed in float64. onnxruntime computes coordinates in float32, so `nearest` may
 * differ from it where a coordinate falls exactly between two elements.
 */

import { elementCount } from "../../core/tensor.ts";
import type { Node } from "../../ir/graph.ts";
import {
  isKept,
  nearestElements,
  readResampling,
  resampledAxes,
  resamplingWeights,
} from "../../ir/resample.ts";
import type { LoweringContext } from "./context.ts";

/** The index of the scales input; undefined when the scales are an attribute (Upsample 7). */
export function scalesInput(node: Node): string | undefined {
  // Upsample 9 and Resize 10 take (X, scales); Resize 11 and later (X, roi, scales, sizes).
  return (node.inputs.length === 2 ? node.inputs[1] : node.inputs[2]) || undefined;
}

export async function lowerResize(ctx: LoweringContext, node: Node): Promise<void> {
  const [x = ""] = node.inputs;
  const shape = [...ctx.shapeOf(x)];
  const output = ctx.shapeOf(node.outputs[0]!);
  const resampling = readResampling(node, ctx.sourceOpset);
  if ("refused" in resampling) throw ctx.refuse(node, resampling.refused);
  const axes = resampledAxes(node, await givenScales(ctx, node), shape, output);
  let value = x;
  for (const [i, axis] of axes.entries()) {
    if (isKept(axis)) continue;
    value =
      resampling.mode === "nearest"
        ? ctx.emit("Gather", [value, ctx.ints(nearestElements(resampling, axis))], { axis: i })
        : interpolate(ctx, value, shape, i, resamplingWeights(resampling, axis), axis.to);
    shape[i] = axis.to;
  }
  ctx.emit("Identity", [value], {}, node.outputs[0]!);
}

/** As they stand in the file; none where the node has sizes. */
async function givenScales(ctx: LoweringContext, node: Node): Promise<readonly number[]> {
  const listed = node.attributes.get("scales");
  if (listed?.type === "floats") return listed.value;
  const name = scalesInput(node);
  return name === undefined ? [] : [...(await ctx.valuesOf(name))];
}

/** Multiplies one axis by `matrix` `[to, from]`. */
function interpolate(
  ctx: LoweringContext,
  value: string,
  shape: readonly number[],
  axis: number,
  matrix: Float64Array,
  to: number,
): string {
  const from = shape[axis]!;
  const inner = elementCount(shape.slice(axis + 1));
  const outer = elementCount(shape.slice(0, axis));
  const result = shape.map((n, i) => (i === axis ? to : n));
  const flat = ctx.reshape(value, [outer, from, inner]);
  return ctx.reshape(ctx.emit("MatMul", [ctx.floats(matrix, [to, from]), flat]), result);
}
