/**
 * @file The operators the gradient rules are written in. Each function adds at most one ONNX node (opset 17), works out
 * the result's shape, and adds nothing where the operation would change nothing.
 */

import { internalError } from "../core/errors.ts";
import { elementCount, formatShape, type Shape } from "../core/tensor.ts";
import type { AttributeInputs } from "../ir/builder.ts";
import type { Emitter } from "./emitter.ts";

/** The shape of an elementwise result under ONNX (NumPy) broadcasting. */
export function broadcastShape(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const m = a[i - rank + a.length] ?? 1;
    const n = b[i - rank + b.length] ?? 1;
    if (m !== n && m !== 1 && n !== 1) {
      throw internalError(
        "training graph",
        `${formatShape(a)} and ${formatShape(b)} do not broadcast`,
      );
    }
    return m === 1 ? n : m;
  });
}

function binary(e: Emitter, opType: string, a: string, b: string): string {
  return e.node(opType, [a, b], broadcastShape(e.shape(a), e.shape(b)));
}

export const add = (e: Emitter, a: string, b: string): string => binary(e, "Add", a, b);
export const sub = (e: Emitter, a: string, b: string): string => binary(e, "Sub", a, b);
export const mul = (e: Emitter, a: string, b: string): string => binary(e, "Mul", a, b);
export const div = (e: Emitter, a: string, b: string): string => binary(e, "Div", a, b);
/** Boolean results. */
export const greater = (e: Emitter, a: string, b: string): string => binary(e, "Greater", a, b);
export const less = (e: Emitter, a: string, b: string): string => binary(e, "Less", a, b);
export const equal = (e: Emitter, a: string, b: string): string => binary(e, "Equal", a, b);
export const and = (e: Emitter, a: string, b: string): string => binary(e, "And", a, b);

/** `value · factor`, nothing for 1. */
export function scale(e: Emitter, value: string, factor: number): string {
  return factor === 1 ? value : mul(e, value, e.scalar(factor));
}

/**
 * `x · factor + shift` per channel, `x` `[n, channels, ...]`, the rest `[channels]`: one pass where Mul and Add take two.
 * Written as a BatchNormalization whose statistics do nothing (mean 0, variance 1, ε 0).
 */
export function affine(e: Emitter, x: string, factor: string, shift: string): string {
  const channels = e.shape(factor);
  const zero = expand(e, e.scalar(0), channels);
  const one = expand(e, e.scalar(1), channels);
  const epsilon = { epsilon: { float: 0 } };
  return e.node("BatchNormalization", [x, factor, shift, zero, one], e.shape(x), epsilon);
}

/** An operator of one input that keeps the shape. */
export function unary(e: Emitter, opType: string, x: string, attributes?: AttributeInputs): string {
  return e.node(opType, [x], e.shape(x), attributes);
}

/** Booleans as 0 and 1 in the graph's dtype. */
export function cast(e: Emitter, condition: string): string {
  const to = e.dtype === "float64" ? 11 : 1; // TensorProto.DataType DOUBLE, FLOAT
  return e.node("Cast", [condition], e.shape(condition), { to });
}

export function where(e: Emitter, condition: string, a: string, b: string): string {
  const shape = broadcastShape(e.shape(condition), broadcastShape(e.shape(a), e.shape(b)));
  return e.node("Where", [condition, a, b], shape);
}

export function reshape(e: Emitter, x: string, shape: Shape): string {
  const from = e.shape(x);
  if (from.join() === shape.join()) return x;
  if (elementCount(from) !== elementCount(shape)) {
    throw internalError(
      "training graph",
      `reshape of ${formatShape(from)} to ${formatShape(shape)}`,
    );
  }
  return e.node("Reshape", [x, e.ints(shape)], shape);
}

export function transpose(e: Emitter, x: string, perm: readonly number[]): string {
  const shape = e.shape(x);
  if (perm.every((axis, i) => axis === i)) return x;
  return e.node(
    "Transpose",
    [x],
    perm.map((axis) => shape[axis]!),
    { perm },
  );
}

/** Sum over `axes`, which stay as 1 unless `keep` is false. */
export function reduceSum(e: Emitter, x: string, axes: readonly number[], keep = true): string {
  const shape = e.shape(x);
  if (axes.length === 0) return x;
  const sorted = [...axes].sort((a, b) => a - b);
  if (sorted.every((axis) => shape[axis] === 1)) {
    return reshape(e, x, keep ? shape : reducedShape(shape, sorted, false));
  }
  return e.node("ReduceSum", [x, e.ints(sorted)], reducedShape(shape, sorted, keep), {
    keepdims: keep ? 1 : 0,
  });
}

export function reduceMean(e: Emitter, x: string, axes: readonly number[], keep = true): string {
  const shape = e.shape(x);
  const keepdims = keep ? 1 : 0;
  // Since opset 18 the axes are an input, as ReduceSum's are since 13.
  return e.opset >= 18
    ? e.node("ReduceMean", [x, e.ints(axes)], reducedShape(shape, axes, keep), { keepdims })
    : e.node("ReduceMean", [x], reducedShape(shape, axes, keep), { axes: [...axes], keepdims });
}

function reducedShape(shape: Shape, axes: readonly number[], keep: boolean): Shape {
  return keep
    ? shape.map((n, axis) => (axes.includes(axis) ? 1 : n))
    : shape.filter((_, axis) => !axes.includes(axis));
}

/** Sums a broadcast result back to the shape it was broadcast from: the gradient of broadcasting. */
export function sumTo(e: Emitter, x: string, shape: Shape): string {
  const from = e.shape(x);
  const lead = from.length - shape.length;
  const axes = from.flatMap((n, axis) =>
    axis < lead || (shape[axis - lead] === 1 && n !== 1) ? [axis] : [],
  );
  return reshape(e, reduceSum(e, x, axes), shape);
}

export interface SliceRange {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
  readonly step?: number;
}

/** Positive steps only. Ranges that take everything are left out. */
export function slice(e: Emitter, x: string, ranges: readonly SliceRange[]): string {
  const shape = [...e.shape(x)];
  const used = ranges.filter(
    ({ axis, start, end, step = 1 }) => start !== 0 || end < shape[axis]! || step !== 1,
  );
  if (used.length === 0) return x;
  for (const { axis, start, end, step = 1 } of used) {
    shape[axis] = Math.ceil((Math.min(end, shape[axis]!) - start) / step);
  }
  return e.node(
    "Slice",
    [
      x,
      e.ints(used.map((range) => range.start)),
      e.ints(used.map((range) => range.end)),
      e.ints(used.map((range) => range.axis)),
      e.ints(used.map((range) => range.step ?? 1)),
    ],
    shape,
  );
}

/** Pads with zeros; negative counts are not allowed. */
export function pad(
  e: Emitter,
  x: string,
  begin: readonly number[],
  end: readonly number[],
): string {
  if ([...begin, ...end].every((n) => n === 0)) return x;
  const shape = e.shape(x).map((n, axis) => n + begin[axis]! + end[axis]!);
  return e.node("Pad", [x, e.ints([...begin, ...end])], shape);
}

export function concat(e: Emitter, values: readonly string[], axis: number): string {
  if (values.length === 1) return values[0]!;
  const shape = [...e.shape(values[0]!)];
  shape[axis] = values.reduce((sum, value) => sum + e.shape(value)[axis]!, 0);
  return e.node("Concat", values, shape, { axis });
}

/** Batched matrix product `[..., m, k] × [..., k, n]`. */
export function matmul(e: Emitter, a: string, b: string): string {
  const [x, y] = [e.shape(a), e.shape(b)];
  const batch = broadcastShape(x.slice(0, -2), y.slice(0, -2));
  return e.node("MatMul", [a, b], [...batch, x.at(-2)!, y.at(-1)!]);
}

export function swapLastTwo(e: Emitter, x: string): string {
  const rank = e.shape(x).length;
  const perm = Array.from({ length: rank }, (_, i) => i);
  perm[rank - 1] = rank - 2;
  perm[rank - 2] = rank - 1;
  return transpose(e, x, perm);
}

/** Picks along one axis by constant positions. */
export function gather(e: Emitter, x: string, positions: readonly number[], axis: number): string {
  const shape = [...e.shape(x)];
  shape[axis] = positions.length;
  return e.node("Gather", [x, e.ints(positions)], shape, { axis });
}

/** A broadcast to a larger shape as a real tensor. */
export function expand(e: Emitter, x: string, shape: Shape): string {
  if (e.shape(x).join() === shape.join()) return x;
  return e.node("Expand", [x, e.ints(shape)], shape);
}
