/**
 * @file Weights made of several tensors, as lazy tensors: shapes are known at once, numbers are computed in float64
 * when read. A plain key stays the checkpoint's own tensor, untouched.
 */

import { bytesOf } from "../core/dtype.ts";
import { badData } from "../core/errors.ts";
import {
  elementCount,
  formatShape,
  type LazyTensor,
  readFloat64,
  type Shape,
  type TensorMap,
} from "../core/tensor.ts";
import type { Expression } from "./family.ts";
import { MAX_EXPRESSION_ELEMENTS, MAX_KERNEL } from "./limits.ts";

/** Throws `bad-data` for a missing tensor, shapes that do not fit, or a result above `MAX_EXPRESSION_ELEMENTS`. */
export function evaluateExpression(expression: Expression, tensors: TensorMap): LazyTensor {
  if (typeof expression === "string") return tensorOf(expression, tensors);
  if (typeof expression === "number") return fixed([], [expression]);
  if ("values" in expression) return fixed(expression.shape, expression.values);
  if ("add" in expression) {
    return combine(expression.add, tensors, "add", (a, b) => a + b);
  }
  if ("multiply" in expression) {
    return combine(expression.multiply, tensors, "multiply", (a, b) => a * b);
  }
  if ("row" in expression) return rowOf(expression.row, expression.index, tensors);
  if ("identityLike" in expression) {
    return identityLike(evaluateExpression(expression.identityLike, tensors));
  }
  if ("unsqueeze" in expression) {
    const inner = evaluateExpression(expression.unsqueeze, tensors);
    return reshape(inner, inner.shape.toSpliced(expression.axis, 0, 1));
  }
  if ("tapSum" in expression) return tapSum(evaluateExpression(expression.tapSum, tensors));
  if ("taps" in expression) {
    const inner = evaluateExpression(expression.taps, tensors);
    return mapTaps(inner, expression.matrix, expression.kernel);
  }
  return transpose(evaluateExpression(expression.transpose, tensors), expression.group ?? 1);
}

function tensorOf(key: string, tensors: TensorMap): LazyTensor {
  const found = tensors.get(key);
  if (!found) throw badData(key, "is not in the checkpoint");
  return found;
}

/** The same elements in the same order under another shape. */
export function reshape(value: LazyTensor, shape: Shape): LazyTensor {
  if (elementCount(shape) !== elementCount(value.shape)) {
    throw badData("tensor", `${formatShape(value.shape)} cannot be seen as ${formatShape(shape)}`);
  }
  return { dtype: value.dtype, shape, read: (start, end) => value.read(start, end) };
}

/** A float64 tensor whose elements are computed at every read. */
function computed(shape: Shape, compute: () => Promise<Float64Array>): LazyTensor {
  assertSize(shape);
  return {
    dtype: "float64",
    shape,
    read: async (start = 0, end = elementCount(shape)) =>
      bytesOf((await compute()).subarray(start, end)),
  };
}

function assertSize(shape: Shape): void {
  const count = elementCount(shape);
  if (count > MAX_EXPRESSION_ELEMENTS) {
    throw badData(
      "computed weight",
      `${formatShape(shape)} has ${count} elements, expected at most ${MAX_EXPRESSION_ELEMENTS}`,
    );
  }
}

function fixed(shape: Shape, values: readonly number[]): LazyTensor {
  if (values.length !== elementCount(shape)) {
    throw badData("values", `${values.length} numbers, expected ${formatShape(shape)}`);
  }
  return computed(shape, async () => Float64Array.from(values));
}

/** All elements equal: the missing γ or β of a BatchNorm without affine parameters. `[count]`. */
export function constantVector(count: number, value: number): LazyTensor {
  return computed([count], async () => new Float64Array(count).fill(value));
}

function combine(
  expressions: readonly Expression[],
  tensors: TensorMap,
  name: string,
  operate: (a: number, b: number) => number,
): LazyTensor {
  const parts = expressions.map((part) => evaluateExpression(part, tensors));
  const [first, ...rest] = parts;
  if (!first) throw badData(name, "has no terms, expected at least one");
  let shape = first.shape;
  for (const part of rest) shape = broadcast(name, shape, part.shape);
  const final = shape;
  assertSize(final);
  return computed(final, async () => {
    const total = stretch(await readFloat64(first), first.shape, final);
    for (const part of rest) {
      const values = stretch(await readFloat64(part), part.shape, final);
      for (let i = 0; i < total.length; i++) total[i] = operate(total[i]!, values[i]!);
    }
    return total;
  });
}

function broadcast(name: string, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const m = a[axis - rank + a.length] ?? 1;
    const n = b[axis - rank + b.length] ?? 1;
    if (m !== n && m !== 1 && n !== 1) {
      throw badData(name, `shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast`);
    }
    return m === 1 ? n : m;
  });
}

/** Repeats `values` of `shape` to `target`, to which it broadcasts; always a fresh array. */
function stretch(values: Float64Array, shape: Shape, target: Shape): Float64Array {
  const result = new Float64Array(elementCount(target));
  const strides: number[] = [];
  let step = 1;
  for (let axis = target.length - 1; axis >= 0; axis--) {
    const size = shape[axis - target.length + shape.length] ?? 1;
    strides[axis] = size === 1 ? 0 : step;
    step *= size;
  }
  const position = new Array<number>(target.length).fill(0);
  let from = 0;
  for (let to = 0; to < result.length; to++) {
    result[to] = values[from]!;
    for (let axis = target.length - 1; axis >= 0; axis--) {
      const next = position[axis]! + 1;
      from += strides[axis]!;
      if (next < target[axis]!) {
        position[axis] = next;
        break;
      }
      from -= strides[axis]! * target[axis]!;
      position[axis] = 0;
    }
  }
  return result;
}

/** Throws `bad-data` unless the shape is a convolution weight's, `[o, i, kH, kW]` with sane numbers. */
export function assertConvWeight(where: string, shape: Shape): void {
  const [outC = 0, inC = 0, kH = 0, kW = 0] = shape;
  if (shape.length === 4 && outC > 0 && inC > 0 && kH > 0 && kW > 0) {
    if (kH <= MAX_KERNEL && kW <= MAX_KERNEL) return;
    throw badData(where, `kernel ${kH}×${kW}, expected at most ${MAX_KERNEL} taps per axis`);
  }
  throw badData(where, `shape is ${formatShape(shape)}, expected [outC, inC/group, kH, kW]`);
}

function identityLike(like: LazyTensor): LazyTensor {
  assertConvWeight("identityLike", like.shape);
  const [outC = 0, inC = 0, kH = 0, kW = 0] = like.shape;
  const taps = kH * kW;
  const centre = Math.floor(kH / 2) * kW + Math.floor(kW / 2);
  return computed(like.shape, async () => {
    const values = new Float64Array(outC * inC * taps);
    for (let o = 0; o < outC; o++) values[(o * inC + (o % inC)) * taps + centre] = 1;
    return values;
  });
}

function rowOf(key: string, index: number, tensors: TensorMap): LazyTensor {
  const matrix = tensorOf(key, tensors);
  const [rows = 0, columns = 0] = matrix.shape;
  if (matrix.shape.length !== 2 || index < 0 || index >= rows) {
    throw badData(key, `${formatShape(matrix.shape)} has no row ${index}, expected a matrix`);
  }
  const begin = index * columns;
  return {
    dtype: matrix.dtype,
    shape: [columns],
    read: (start = 0, end = columns) => matrix.read(begin + start, begin + end),
  };
}

function tapSum(weight: LazyTensor): LazyTensor {
  assertConvWeight("tapSum", weight.shape);
  const [outC = 0, inC = 0, kH = 0, kW = 0] = weight.shape;
  const ones = [new Array<number>(kH * kW).fill(1)];
  return reshape(mapTaps(weight, ones, [1, 1]), [outC, inC, 1, 1]);
}

function mapTaps(
  weight: LazyTensor,
  matrix: readonly (readonly number[])[],
  kernel: readonly [number, number],
): LazyTensor {
  const [outC = 0, inC = 0, ...spatial] = weight.shape;
  const oldTaps = elementCount(spatial);
  const newTaps = kernel[0] * kernel[1];
  if (matrix.length !== newTaps || matrix.some((row) => row.length !== oldTaps)) {
    throw badData(
      "taps",
      `matrix is ${matrix.length}×${matrix[0]?.length ?? 0}, expected ${newTaps}×${oldTaps} for a weight ${formatShape(weight.shape)}`,
    );
  }
  return computed([outC, inC, ...kernel], async () => {
    const old = await readFloat64(weight);
    const made = new Float64Array(outC * inC * newTaps);
    for (let filter = 0; filter < outC * inC; filter++) {
      for (let to = 0; to < newTaps; to++) {
        let total = 0;
        for (let from = 0; from < oldTaps; from++) {
          total += matrix[to]![from]! * old[filter * oldTaps + from]!;
        }
        made[filter * newTaps + to] = total;
      }
    }
    return made;
  });
}

function transpose(weight: LazyTensor, group: number): LazyTensor {
  assertConvWeight("transpose", weight.shape);
  const [inC = 0, outPerGroup = 0, kH = 0, kW = 0] = weight.shape;
  if (group < 1 || inC % group !== 0) {
    throw badData("transpose", `${inC} input channels do not divide into ${group} groups`);
  }
  const inPerGroup = inC / group;
  const taps = kH * kW;
  return computed([outPerGroup * group, inPerGroup, kH, kW], async () => {
    const old = await readFloat64(weight);
    const made = new Float64Array(old.length);
    for (let g = 0; g < group; g++) {
      for (let o = 0; o < outPerGroup; o++) {
        for (let i = 0; i < inPerGroup; i++) {
          const from = ((g * inPerGroup + i) * outPerGroup + o) * taps;
          const to = ((g * outPerGroup + o) * inPerGroup + i) * taps;
          for (let t = 0; t < taps; t++) made[to + t] = old[from + taps - 1 - t]!;
        }
      }
    }
    return made;
  });
}

/** Rows stored as o·group + g, put group by group: row g·(outC/group) + o. */
export function rowsByGroup(weight: LazyTensor, group: number): LazyTensor {
  const [outC = 0, ...rest] = weight.shape;
  const size = elementCount(rest);
  const perGroup = outC / group;
  return computed(weight.shape, async () => {
    const old = await readFloat64(weight);
    const made = new Float64Array(old.length);
    for (let row = 0; row < outC; row++) {
      const to = (row % group) * perGroup + Math.floor(row / group);
      made.set(old.subarray(row * size, (row + 1) * size), to * size);
    }
    return made;
  });
}
