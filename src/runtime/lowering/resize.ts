/**
 * @file Resize and Upsample ⇒ one Gather (nearest) or one MatMul with an interpolation matrix (linear, cubic) per axis.
 * Interpolation is separable, and its coordinates depend on sizes and scales only (ONNX operator Resize): the matrices
 * are computed here in float64. onnxruntime computes coordinates in float32, so `nearest` may differ from it where a
 * coordinate falls exactly between two elements.
 */

import { elementCount } from "../../core/tensor.ts";
import {
  floatAttribute,
  intAttribute,
  intsAttribute,
  type Node,
  stringAttribute,
} from "../../ir/graph.ts";
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
  const plan = await readPlan(ctx, node, shape, output);
  let value = x;
  output.forEach((to, axis) => {
    const from = shape[axis]!;
    const scale = plan.scales[axis]!;
    if (to === from && scale === 1) return;
    const places = Array.from({ length: to }, (_, i) => plan.coordinate(i, from, to, scale));
    value =
      plan.mode === "nearest"
        ? ctx.emit("Gather", [value, ctx.ints(places.map((p) => plan.nearest(p, from)))], { axis })
        : interpolate(ctx, value, shape, axis, weights(plan, places, from), to);
    shape[axis] = to;
  });
  ctx.emit("Identity", [value], {}, node.outputs[0]!);
}

interface Plan {
  readonly mode: string;
  readonly scales: readonly number[];
  readonly cubicA: number;
  readonly excludeOutside: boolean;
  coordinate(i: number, from: number, to: number, scale: number): number;
  nearest(place: number, from: number): number;
}

type Coordinate = (i: number, from: number, to: number, scale: number) => number;

const halfPixel: Coordinate = (i, _from, _to, scale) => (i + 0.5) / scale - 0.5;

const COORDINATES: Readonly<Record<string, Coordinate>> = {
  half_pixel: halfPixel,
  asymmetric: (i, _from, _to, scale) => i / scale,
  align_corners: (i, from, to) => (to === 1 ? 0 : (i * (from - 1)) / (to - 1)),
  pytorch_half_pixel: (i, from, to, scale) => (to > 1 ? halfPixel(i, from, to, scale) : 0),
  half_pixel_symmetric: (i, from, to, scale) =>
    (from / 2) * (1 - to / (scale * from)) + halfPixel(i, from, to, scale),
};

const NEAREST: Readonly<Record<string, (place: number) => number>> = {
  round_prefer_floor: (place) => Math.ceil(place - 0.5),
  round_prefer_ceil: (place) => Math.floor(place + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

async function readPlan(
  ctx: LoweringContext,
  node: Node,
  from: readonly number[],
  to: readonly number[],
): Promise<Plan> {
  const old = node.opType === "Upsample" || ctx.sourceOpset < 11;
  const coordinates = stringAttribute(
    node,
    "coordinate_transformation_mode",
    old ? "asymmetric" : "half_pixel",
  );
  const rounding = stringAttribute(node, "nearest_mode", old ? "floor" : "round_prefer_floor");
  const mode = stringAttribute(node, "mode", "nearest");
  const [coordinate, round] = [COORDINATES[coordinates], NEAREST[rounding]];
  if (!coordinate) throw ctx.refuse(node, `coordinate_transformation_mode is ${coordinates}`);
  if (!round) throw ctx.refuse(node, `nearest_mode is ${rounding}`);
  if (!["nearest", "linear", "bilinear", "cubic"].includes(mode))
    throw ctx.refuse(node, `mode is ${mode}`);
  if (intAttribute(node, "antialias", 0) === 1) throw ctx.refuse(node, "antialias is on");
  if (stringAttribute(node, "keep_aspect_ratio_policy", "stretch") !== "stretch") {
    throw ctx.refuse(node, "keep_aspect_ratio_policy is not stretch");
  }
  return {
    mode,
    scales: await readScales(ctx, node, from, to),
    cubicA: floatAttribute(node, "cubic_coeff_a", -0.75),
    excludeOutside: intAttribute(node, "exclude_outside", 0) === 1,
    coordinate,
    nearest: (place, size) => Math.min(Math.max(round(place), 0), size - 1),
  };
}

/** One scale per axis of the input. */
async function readScales(
  ctx: LoweringContext,
  node: Node,
  from: readonly number[],
  to: readonly number[],
): Promise<readonly number[]> {
  const bySize = from.map((n, axis) => to[axis]! / n);
  const listed = node.attributes.get("scales");
  const name = scalesInput(node);
  const given =
    listed?.type === "floats"
      ? listed.value
      : name === undefined
        ? []
        : [...(await ctx.valuesOf(name))];
  if (given.length === 0) return bySize;
  const axes = intsAttribute(node, "axes") ?? from.map((_, axis) => axis);
  const scales = from.map(() => 1);
  axes.forEach((axis, i) => {
    scales[axis < 0 ? axis + from.length : axis] = given[i] ?? 1;
  });
  return scales;
}

/** Interpolation weights `[to, from]`. Places outside take the border element. */
function weights(plan: Plan, places: readonly number[], from: number): Float64Array {
  const matrix = new Float64Array(places.length * from);
  const clamp = (i: number): number => Math.min(Math.max(i, 0), from - 1);
  places.forEach((place, row) => {
    const taps = plan.mode === "cubic" ? cubicTaps(place, plan.cubicA) : linearTaps(clamp(place));
    const used = plan.excludeOutside ? taps.filter(([i]) => i >= 0 && i < from) : taps;
    const total = plan.excludeOutside ? used.reduce((sum, [, w]) => sum + w, 0) : 1;
    for (const [i, w] of used) matrix[row * from + clamp(i)]! += w / total;
  });
  return matrix;
}

type Tap = readonly [index: number, weight: number];

function linearTaps(place: number): Tap[] {
  const low = Math.floor(place);
  return [
    [low, 1 - (place - low)],
    [low + 1, place - low],
  ];
}

/** Keys' cubic convolution with parameter a. */
function cubicTaps(place: number, a: number): Tap[] {
  const low = Math.floor(place);
  return [-1, 0, 1, 2].map((step) => {
    const d = Math.abs(place - low - step);
    const weight =
      d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    return [low + step, weight];
  });
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
