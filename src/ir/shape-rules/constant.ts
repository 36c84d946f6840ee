/** @file Types of Constant and of operators that make tensors from shapes. */

import { elementCount, readFloat64 } from "../../core/tensor.ts";
import type { Dim } from "../graph.ts";
import {
  type InferredType,
  MAX_KNOWN_VALUES,
  type ShapeRule,
  toNumbers,
  unknownDims,
} from "./context.ts";

export const constant: ShapeRule = ({ node }) => {
  const types: InferredType[] = [];
  for (const [name, attribute] of node.attributes) {
    const { type, value } = attribute;
    if (name === "value" && type === "tensor")
      types.push({ dtype: value.dtype, shape: value.shape });
    if (type === "int") types.push({ dtype: "int64", shape: [], values: [value] });
    if (type === "ints") types.push({ dtype: "int64", shape: [value.length], values: value });
    if (type === "float") types.push({ dtype: "float32", shape: [] });
    if (type === "floats") types.push({ dtype: "float32", shape: [value.length] });
    if (type === "string") types.push({ dtype: "string", shape: [] });
    if (type === "strings") types.push({ dtype: "string", shape: [value.length] });
  }
  return types;
};

export const constantOfShape: ShapeRule = async ({ node, input, values }) => {
  const fill = node.attributes.get("value");
  const dtype = fill?.type === "tensor" ? fill.value.dtype : "float32";
  const shape = (await values(0)) ?? unknownDims(input(0).shape?.[0]);
  const [length] = shape ?? [];
  if (shape?.length !== 1 || typeof length !== "number" || length > MAX_KNOWN_VALUES) {
    return [{ dtype, shape }];
  }
  if (
    fill?.type !== "tensor" ||
    fill.value.dtype !== "int64" ||
    elementCount(fill.value.shape) !== 1
  ) {
    return [{ dtype, shape }];
  }
  const [value] = await readFloat64(fill.value);
  return [{ dtype, shape, values: Array<Dim>(length).fill(value) }];
};

export const shapeOf: ShapeRule = ({ node, input }) => {
  const { shape } = input(0);
  const cut = ["start", "end"].some((name) => node.attributes.has(name));
  if (!shape || cut) return [{ dtype: "int64", shape: [undefined] }];
  return [{ dtype: "int64", shape: [shape.length], values: shape }];
};

export const sizeOf: ShapeRule = ({ input }) => {
  const dims = toNumbers(input(0).shape);
  return [{ dtype: "int64", shape: [], values: [dims?.reduce((all, n) => all * n, 1)] }];
};

export const range: ShapeRule = async ({ input, values }) => {
  const { dtype } = input(0);
  const [start, limit, delta] = [
    (await values(0))?.[0],
    (await values(1))?.[0],
    (await values(2))?.[0],
  ];
  if (typeof start !== "number" || typeof limit !== "number" || typeof delta !== "number") {
    return [{ dtype, shape: [undefined] }];
  }
  return [
    { dtype, shape: [delta === 0 ? undefined : Math.max(0, Math.ceil((limit - start) / delta))] },
  ];
};
