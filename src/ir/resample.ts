/**
 * @file What Resize and Upsample read: per axis, which element each place of the output takes, or with which weights it
 * mixes the elements. Interpolation is separable, and its coordinates depend on sizes and scales only (ONNX operator
 * Resize).
 */

import {
  floatAttribute,
  intAttribute,
  intsAttribute,
  type Node,
  stringAttribute,
} from "./graph.ts";

export interface Resampling {
  readonly mode: "nearest" | "linear" | "cubic";
  /** Where in the input a place of the output lies. */
  coordinate(i: number, axis: AxisSizes): number;
  /** The element that `nearest` takes for a coordinate, before it is brought inside. */
  round(place: number): number;
  /** Whether `round` goes over at whole numbers, or halfway between them. */
  readonly turnsAt: "whole" | "half";
  readonly cubicA: number;
  readonly excludeOutside: boolean;
}

export interface AxisSizes {
  readonly from: number;
  readonly to: number;
  readonly scale: number;
}

type Coordinate = Resampling["coordinate"];

const halfPixel: Coordinate = (i, { scale }) => (i + 0.5) / scale - 0.5;

const COORDINATES: Readonly<Record<string, Coordinate>> = {
  half_pixel: halfPixel,
  asymmetric: (i, { scale }) => i / scale,
  align_corners: (i, { from, to }) => (to === 1 ? 0 : (i * (from - 1)) / (to - 1)),
  pytorch_half_pixel: (i, axis) => (axis.to > 1 ? halfPixel(i, axis) : 0),
  half_pixel_symmetric: (i, axis) =>
    (axis.from / 2) * (1 - axis.to / (axis.scale * axis.from)) + halfPixel(i, axis),
};

const NEAREST: Readonly<Record<string, Pick<Resampling, "round" | "turnsAt">>> = {
  round_prefer_floor: { round: (place) => Math.ceil(place - 0.5), turnsAt: "half" },
  round_prefer_ceil: { round: (place) => Math.floor(place + 0.5), turnsAt: "half" },
  floor: { round: Math.floor, turnsAt: "whole" },
  ceil: { round: Math.ceil, turnsAt: "whole" },
};

const MODES: Readonly<Record<string, Resampling["mode"]>> = {
  nearest: "nearest",
  linear: "linear",
  bilinear: "linear",
  cubic: "cubic",
};

/** The attributes of Resize, or which of them is not known here. `opset` is the model's. */
export function readResampling(
  node: Node,
  opset: number,
): Resampling | { readonly refused: string } {
  const old = node.opType === "Upsample" || opset < 11;
  const coordinates = stringAttribute(
    node,
    "coordinate_transformation_mode",
    old ? "asymmetric" : "half_pixel",
  );
  const rounding = stringAttribute(node, "nearest_mode", old ? "floor" : "round_prefer_floor");
  const asked = stringAttribute(node, "mode", "nearest");
  const policy = stringAttribute(node, "keep_aspect_ratio_policy", "stretch");
  const [coordinate, nearest, mode] = [COORDINATES[coordinates], NEAREST[rounding], MODES[asked]];
  if (!coordinate) return { refused: `coordinate_transformation_mode is ${coordinates}` };
  if (!nearest) return { refused: `nearest_mode is ${rounding}` };
  if (!mode) return { refused: `mode is ${asked}` };
  if (intAttribute(node, "antialias", 0) === 1) return { refused: "antialias is on" };
  if (policy !== "stretch") return { refused: "keep_aspect_ratio_policy is not stretch" };
  return {
    mode,
    coordinate,
    ...nearest,
    cubicA: floatAttribute(node, "cubic_coeff_a", -0.75),
    excludeOutside: intAttribute(node, "exclude_outside", 0) === 1,
  };
}

/** Sizes and scale of every axis; `given` are the node's scales, empty where it has sizes instead. */
export function resampledAxes(
  node: Node,
  given: readonly number[],
  from: readonly number[],
  to: readonly number[],
): AxisSizes[] {
  const sizes = from.map((n, axis) => ({ from: n, to: to[axis]!, scale: to[axis]! / n }));
  if (given.length === 0) return sizes;
  const axes = intsAttribute(node, "axes") ?? from.map((_, axis) => axis);
  const scales = from.map(() => 1);
  axes.forEach((axis, i) => {
    scales[axis < 0 ? axis + from.length : axis] = given[i] ?? 1;
  });
  return sizes.map((axis, i) => ({ ...axis, scale: scales[i]! }));
}

/** An axis that stays as it is. */
export function isKept({ from, to, scale }: AxisSizes): boolean {
  return to === from && scale === 1;
}

/** Where in the input each place of the output lies. */
export function placesOf({ coordinate }: Resampling, axis: AxisSizes): number[] {
  return Array.from({ length: axis.to }, (_, i) => coordinate(i, axis));
}

/** The element each place of the output takes. */
export function nearestElements(resampling: Resampling, axis: AxisSizes): number[] {
  return placesOf(resampling, axis).map((place) =>
    Math.min(Math.max(resampling.round(place), 0), axis.from - 1),
  );
}

/** Interpolation weights `[to, from]`. Places outside take the border element. */
export function resamplingWeights(resampling: Resampling, axis: AxisSizes): Float64Array {
  const { mode, cubicA, excludeOutside } = resampling;
  const { from } = axis;
  const matrix = new Float64Array(axis.to * from);
  if (mode === "nearest") {
    for (const [row, i] of nearestElements(resampling, axis).entries()) matrix[row * from + i] = 1;
    return matrix;
  }
  const clamp = (i: number): number => Math.min(Math.max(i, 0), from - 1);
  for (const [row, place] of placesOf(resampling, axis).entries()) {
    const taps = mode === "cubic" ? cubicTaps(place, cubicA) : linearTaps(clamp(place));
    const used = excludeOutside ? taps.filter(([i]) => i >= 0 && i < from) : taps;
    const total = excludeOutside ? used.reduce((sum, [, w]) => sum + w, 0) : 1;
    for (const [i, w] of used) matrix[row * from + clamp(i)]! += w / total;
  }
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
