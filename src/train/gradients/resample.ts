/**
 * @file Operators that read an element several times, or between elements: Gather and Resize. Both are a matrix M along
 * an axis, y = M·x, so their gradient is Mᵀ·∂y.
 */

import { elementCount, type Shape } from "../../core/tensor.ts";
import { intAttribute } from "../../ir/graph.ts";
import {
  type AxisSizes,
  isKept,
  placesOf,
  type Resampling,
  readResampling,
  resampledAxes,
  resamplingWeights,
} from "../../ir/resample.ts";
import type { Emitter } from "../emitter.ts";
import { add, gather, matmul, pad, reshape } from "../vocabulary.ts";
import { firstGradient, type GradientRule, inputShape, refuseNode } from "./rule.ts";
import { positiveAxis } from "./shape.ts";

/** Elements of M: 64 MiB of float32. Real nets resize axes of some hundred elements. */
const MAX_MATRIX_ELEMENTS = 2 ** 24;
/** How often the most wanted element may be taken for sums of Gathers; the matrix product comes after. */
const MAX_GATHERS = 8;
/** Relative distance below which float32 coordinates (onnxruntime's) may round to the other element. */
const FLOAT32_DOUBT = 2 ** -18;

/** Each element's gradient is the sum of what was taken from it. Positions have to be constant. */
const gatherRule: GradientRule = (context) => {
  const { e, node } = context;
  const positions = context.constant(1);
  if (!positions) throw refuseNode(node, "its indices are not constant");
  const shape = inputShape(context, 0);
  const axis = positiveAxis(intAttribute(node, "axis", 0), shape.length);
  const size = shape[axis]!;
  const outer = elementCount(shape.slice(0, axis));
  const inner = elementCount(shape.slice(axis + 1));
  const dy = reshape(e, firstGradient(context), [outer, positions.length, inner]);
  const taken = takers(positions, size);
  const most = Math.max(...taken.map((list) => list.length));
  const flat =
    most <= MAX_GATHERS
      ? sumOfGathers(e, dy, taken, most)
      : alongAxis(e, dy, 1, oneHot(context.node, positions, size), size);
  return [reshape(e, flat, shape)];
};

/** Per element of the axis, where in the output it went. */
function takers(positions: readonly number[], size: number): number[][] {
  const taken = Array.from({ length: size }, (): number[] => []);
  for (const [to, from] of positions.entries()) taken[positiveAxis(from, size)]?.push(to);
  return taken;
}

/** Σ over k of the k-th place each element was taken to; a row of zeros stands in for elements taken less often. */
function sumOfGathers(
  e: Emitter,
  dy: string,
  taken: readonly (readonly number[])[],
  most: number,
): string {
  const [, count = 0] = e.shape(dy);
  const needsZeros = taken.some((list) => list.length < most) || most === 0;
  const padded = needsZeros ? pad(e, dy, [0, 0, 0], [0, 1, 0]) : dy;
  const parts = Array.from({ length: Math.max(most, 1) }, (_, k) =>
    gather(
      e,
      padded,
      taken.map((list) => list[k] ?? count),
      1,
    ),
  );
  return parts.reduce((a, b) => add(e, a, b));
}

function oneHot(
  node: Parameters<typeof refuseNode>[0],
  positions: readonly number[],
  size: number,
): Float64Array {
  assertMatrix(node, positions.length, size);
  const matrix = new Float64Array(positions.length * size);
  for (const [to, from] of positions.entries()) matrix[to * size + positiveAxis(from, size)] = 1;
  return matrix;
}

const resizeRule: GradientRule = (context) => {
  const { e, node } = context;
  const resampling = readResampling(node, e.opset);
  if ("refused" in resampling) throw refuseNode(node, resampling.refused);
  const given = node.inputs[2] ? context.constant(2) : [];
  if (!given) throw refuseNode(node, "its scales are not constant");
  let dy = firstGradient(context);
  const axes = resampledAxes(node, given, inputShape(context, 0), e.shape(dy));
  for (const [i, axis] of axes.entries()) {
    if (isKept(axis)) continue;
    assertMatrix(node, axis.to, axis.from);
    if (resampling.mode === "nearest" && isDoubtful(resampling, axis)) {
      throw refuseNode(
        node,
        `on axis ${i} some of the ${axis.to} places lie so close between two of the ${axis.from} elements that rounding decides which is the nearest`,
      );
    }
    dy = alongAxis(e, dy, i, resamplingWeights(resampling, axis), axis.from);
  }
  return [dy];
};

/** Places at the turn of the rounding that are not exactly there: float32 and float64 may disagree on them. */
function isDoubtful(resampling: Resampling, axis: AxisSizes): boolean {
  const offset = resampling.turnsAt === "half" ? 0.5 : 0;
  return placesOf(resampling, axis).some((place) => {
    const turn = Math.round(place - offset) + offset;
    const inside = turn > 0 && turn < axis.from;
    return inside && place !== turn && Math.abs(place - turn) < FLOAT32_DOUBT * axis.from;
  });
}

/** Mᵀ·dy along one axis; `matrix` is M, `[to, from]`. */
function alongAxis(
  e: Emitter,
  dy: string,
  axis: number,
  matrix: Float64Array,
  from: number,
): string {
  const shape = e.shape(dy);
  const to = shape[axis]!;
  const result: Shape = shape.map((n, i) => (i === axis ? from : n));
  const outer = elementCount(shape.slice(0, axis));
  const inner = elementCount(shape.slice(axis + 1));
  if (inner === 1) {
    const rows = matmul(e, reshape(e, dy, [outer, to]), e.floats([to, from], matrix));
    return reshape(e, rows, result);
  }
  const transposed = new Float64Array(matrix.length);
  for (let row = 0; row < to; row++) {
    for (let i = 0; i < from; i++) transposed[i * to + row] = matrix[row * from + i]!;
  }
  const product = matmul(e, e.floats([from, to], transposed), reshape(e, dy, [outer, to, inner]));
  return reshape(e, product, result);
}

function assertMatrix(node: Parameters<typeof refuseNode>[0], to: number, from: number): void {
  if (to * from <= MAX_MATRIX_ELEMENTS) return;
  throw refuseNode(
    node,
    `its gradient would need ${to} × ${from} weights, expected at most ${MAX_MATRIX_ELEMENTS}`,
  );
}

export const RESAMPLE_RULES: Readonly<Record<string, GradientRule>> = {
  Gather: gatherRule,
  Resize: resizeRule,
};
