/** @file Operators that move the elements of constants or make index tensors: no arithmetic, no rounding. */

import { badData } from "../../core/errors.ts";
import { elementCount, readFloat64, type Shape } from "../../core/tensor.ts";
import { intAttribute, intsAttribute, nodeLabel, stringAttribute } from "../../ir/graph.ts";
import {
  axisOf,
  broadcastShape,
  broadcastStrides,
  computed,
  type Fold,
  forEachPosition,
  reshaped,
  sizesFrom,
  sizesOf,
  stridedView,
  stridesOf,
} from "./fold.ts";

const reshape: Fold = async ({ node, inputs: [input, target] }) => {
  const sizes = await sizesOf(target);
  if (!input || !sizes || intAttribute(node, "allowzero", 0) === 1) return undefined;
  const { shape } = input.tensor;
  const given = sizes.map((n, i) => (n === 0 ? (shape[i] ?? 0) : n));
  const known = given.reduce((product, n) => (n === -1 ? product : product * n), 1);
  return reshaped(
    input,
    given.map((n) => (n === -1 ? elementCount(shape) / known : n)),
  );
};

const unsqueeze: Fold = async (context) => {
  const [input] = context.inputs;
  const axes = await sizesFrom(context, "axes", 1);
  if (!input || !axes) return undefined;
  const rank = input.tensor.shape.length + axes.length;
  const added = new Set(axes.map((axis) => axisOf(axis, rank)));
  if (added.has(undefined) || added.size !== axes.length) return undefined;
  const rest = [...input.tensor.shape];
  return reshaped(
    input,
    Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : rest.shift()!)),
  );
};

const squeeze: Fold = async (context) => {
  const [input] = context.inputs;
  if (!input) return undefined;
  const { shape } = input.tensor;
  const axes = await sizesFrom(context, "axes", 1);
  if (!axes && context.inputs[1]) return undefined;
  const dropped = axes?.map((axis) => axisOf(axis, shape.length));
  return reshaped(
    input,
    shape.filter((n, i) => (dropped ? !dropped.includes(i) : n !== 1)),
  );
};

const flatten: Fold = async ({ node, inputs: [input] }) => {
  if (!input) return undefined;
  const { shape } = input.tensor;
  const axis = intAttribute(node, "axis", 1);
  const split = axis < 0 ? axis + shape.length : axis;
  return reshaped(input, [elementCount(shape.slice(0, split)), elementCount(shape.slice(split))]);
};

const transpose: Fold = async ({ node, inputs: [input] }) => {
  if (!input) return undefined;
  const { shape } = input.tensor;
  const perm = intsAttribute(node, "perm") ?? shape.map((_, i) => shape.length - 1 - i);
  if (perm.length !== shape.length || perm.some((axis) => axisOf(axis, shape.length) !== axis)) {
    return undefined;
  }
  const strides = stridesOf(shape);
  return stridedView(
    input,
    perm.map((axis) => shape[axis]!),
    0,
    perm.map((axis) => strides[axis]!),
  );
};

const expand: Fold = async ({ inputs: [input, target] }) => {
  const sizes = await sizesOf(target);
  const shape = input && sizes && broadcastShape(input.tensor.shape, sizes);
  return shape && stridedView(input, shape, 0, broadcastStrides(input.tensor.shape, shape));
};

const slice: Fold = async (context) => {
  const [input, , , axesInput, stepsInput] = context.inputs;
  const starts = await sizesFrom(context, "starts", 1);
  const ends = await sizesFrom(context, "ends", 2);
  const axes = await sizesFrom(context, "axes", 3);
  const steps = await sizesOf(stepsInput);
  if (!input || !starts || !ends || (axesInput && !axes) || (stepsInput && !steps))
    return undefined;
  const shape = [...input.tensor.shape];
  const strides = stridesOf(shape);
  let offset = 0;
  for (const [i, start] of starts.entries()) {
    const axis = axisOf(axes?.[i] ?? i, shape.length);
    if (axis === undefined) return undefined;
    const range = sliceRange(shape[axis]!, start, ends[i]!, steps?.[i] ?? 1);
    if (!range) return undefined;
    offset += strides[axis]! * range.start;
    shape[axis] = range.count;
    strides[axis] = strides[axis]! * range.step;
  }
  return stridedView(input, shape, offset, strides);
};

/** First position, step and count of a Slice along an axis of known length; bounds are clamped as ONNX says. */
export function sliceRange(
  length: number,
  start: number,
  end: number,
  step: number,
): { start: number; step: number; count: number } | undefined {
  if (step === 0) return undefined;
  const clamp = (n: number, low: number, high: number): number => Math.min(Math.max(n, low), high);
  const from = clamp(start < 0 ? start + length : start, 0, step > 0 ? length : length - 1);
  const to = clamp(end < 0 ? end + length : end, step > 0 ? 0 : -1, length);
  return { start: from, step, count: Math.max(0, Math.ceil((to - from) / step)) };
}

const gather: Fold = async ({ node, inputs: [input, indices] }) => {
  const rank = input?.tensor.shape.length ?? 0;
  const axis = axisOf(intAttribute(node, "axis", 0), rank);
  if (!input || !indices || axis === undefined) return undefined;
  const { shape } = input.tensor;
  const result = [...shape.slice(0, axis), ...indices.tensor.shape, ...shape.slice(axis + 1)];
  return computed(result, input.dtype, input.roundings, async () => {
    const values = await readFloat64(input.tensor);
    const chosen = await readFloat64(indices.tensor);
    const inner = elementCount(shape.slice(axis + 1));
    const length = shape[axis]!;
    return Float64Array.from({ length: elementCount(result) }, (_, flat) => {
      const along = Math.floor(flat / inner);
      const index = chosen[along % chosen.length]!;
      const outer = Math.floor(along / chosen.length);
      return values[
        (outer * length + (index < 0 ? index + length : index)) * inner + (flat % inner)
      ]!;
    });
  });
};

const concat: Fold = async ({ node, inputs }) => {
  const parts = inputs.filter((input) => input !== undefined);
  const first = parts[0];
  const axis = axisOf(intAttribute(node, "axis", 0), first?.tensor.shape.length ?? 0);
  if (!first || axis === undefined || parts.length !== inputs.length) return undefined;
  const { shape } = first.tensor;
  const fits = parts.every(
    ({ tensor }) =>
      tensor.shape.length === shape.length &&
      tensor.shape.every((n, i) => i === axis || n === shape[i]),
  );
  if (!fits) return undefined;
  const length = parts.reduce((sum, part) => sum + part.tensor.shape[axis]!, 0);
  const result = shape.map((n, i) => (i === axis ? length : n));
  const roundings = Math.max(...parts.map((part) => part.roundings));
  return computed(result, first.dtype, roundings, async () => {
    const all = await Promise.all(parts.map((part) => readFloat64(part.tensor)));
    const values = new Float64Array(elementCount(result));
    const outer = elementCount(shape.slice(0, axis));
    for (let o = 0, to = 0; o < outer; o++) {
      for (const part of all) {
        const size = part.length / outer;
        values.set(part.subarray(o * size, (o + 1) * size), to);
        to += size;
      }
    }
    return values;
  });
};

const shapeOf: Fold = async ({ node, inputs: [input] }) => {
  if (!input) return undefined;
  const rank = input.tensor.shape.length;
  const start = intAttribute(node, "start", 0);
  const sizes = input.tensor.shape.slice(start, intAttribute(node, "end", rank));
  return computed([sizes.length], "int64", 0, async () => Float64Array.from(sizes));
};

const constantOfShape: Fold = async ({ node, inputs: [input] }) => {
  const shape = await sizesOf(input);
  if (!shape) return undefined;
  const value = node.attributes.get("value");
  const fill = value?.type === "tensor" ? value.value : undefined;
  return computed(shape, fill?.dtype ?? "float32", 0, async () => {
    const number = fill ? (await readFloat64(fill))[0]! : 0;
    return new Float64Array(elementCount(shape)).fill(number);
  });
};

const range: Fold = async ({ inputs }) => {
  const [start, limit, delta] = await Promise.all(inputs.map(async (n) => (await sizesOf(n))?.[0]));
  if (start === undefined || limit === undefined || !delta) return undefined;
  const count = Math.max(0, Math.ceil((limit - start) / delta));
  return computed([count], inputs[0]!.dtype, 0, async () =>
    Float64Array.from({ length: count }, (_, i) => start + i * delta),
  );
};

const scatterNd: Fold = async ({ node, inputs: [data, indices, updates] }) => {
  if (!data || !indices || !updates) return undefined;
  if (stringAttribute(node, "reduction", "none") !== "none") return undefined;
  const { shape } = data.tensor;
  const depth = indices.tensor.shape.at(-1) ?? 0;
  if (depth < 1 || depth > shape.length) return undefined;
  const roundings = Math.max(data.roundings, updates.roundings);
  return computed(shape, data.dtype, roundings, async () => {
    const values = await readFloat64(data.tensor);
    const points = await readFloat64(indices.tensor);
    const written = await readFloat64(updates.tensor);
    const size = elementCount(shape.slice(depth));
    const strides = stridesOf(shape);
    for (let p = 0; p * depth < points.length; p++) {
      let at = 0;
      for (let d = 0; d < depth; d++) {
        const index = points[p * depth + d]!;
        at += strides[d]! * (index < 0 ? index + shape[d]! : index);
      }
      if (!(at >= 0 && at + size <= values.length)) {
        throw badData(
          nodeLabel(node),
          `it writes at ${at} of a tensor with ${values.length} elements`,
        );
      }
      values.set(written.subarray(p * size, (p + 1) * size), at);
    }
    return values;
  });
};

const pad: Fold = async (context) => {
  const [input, , fillInput, axesInput] = context.inputs;
  const pads = await sizesFrom(context, "pads", 1);
  if (
    !input ||
    !pads ||
    axesInput ||
    stringAttribute(context.node, "mode", "constant") !== "constant"
  ) {
    return undefined;
  }
  const { shape } = input.tensor;
  if (pads.length !== 2 * shape.length || pads.some((n) => n < 0)) return undefined;
  const result: Shape = shape.map((n, i) => n + pads[i]! + pads[i + shape.length]!);
  return computed(result, input.dtype, input.roundings, async () => {
    const fill = fillInput
      ? (await readFloat64(fillInput.tensor))[0]!
      : fillAttribute(context.node);
    const values = new Float64Array(elementCount(result)).fill(fill);
    const source = await readFloat64(input.tensor);
    const strides = stridesOf(result);
    const offset = strides.reduce((sum, stride, i) => sum + stride * pads[i]!, 0);
    forEachPosition(shape, strides, offset, (from, to) => {
      values[to] = source[from]!;
    });
    return values;
  });
};

function fillAttribute(node: Parameters<Fold>[0]["node"]): number {
  const value = node.attributes.get("value");
  return value?.type === "float" ? value.value : 0;
}

export const LAYOUT_FOLDS: Readonly<Record<string, Fold>> = {
  Concat: concat,
  ConstantOfShape: constantOfShape,
  Expand: expand,
  Flatten: flatten,
  Gather: gather,
  Pad: pad,
  Range: range,
  Reshape: reshape,
  ScatterND: scatterNd,
  Shape: shapeOf,
  Slice: slice,
  Squeeze: squeeze,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
};
