/** @file What computes an operator over constants sees, and the tensors it answers with. */

import { type DType, decodeFloat64, encodeFloat64 } from "../../core/dtype.ts";
import { elementCount, type LazyTensor, readFloat64, type Shape } from "../../core/tensor.ts";
import type { Node } from "../../ir/graph.ts";
import type { Constant } from "../constants.ts";

export interface FoldContext {
  readonly node: Node;
  readonly opset: number;
  /** Undefined where an optional input is left out. */
  readonly inputs: readonly (Constant | undefined)[];
}

export type Folded = Omit<Constant, "name" | "depth">;

/** The constant result of one operator, its shape at once and its numbers later; undefined when we cannot tell. */
export type Fold = (context: FoldContext) => Promise<Folded | undefined>;

/** Largest computed constant: 2²⁶ elements, 512 MiB of float64. Stored weights are read in ranges and have no limit. */
export const MAX_FOLDED_ELEMENTS: number = 2 ** 26;

/** Longest tensor of sizes, axes or bounds; ranks are below ten. */
const MAX_SIZES = 64;

/** A float64 tensor computed when first read; undefined when it is too large. */
export function computed(
  shape: Shape,
  dtype: DType,
  roundings: number,
  compute: () => Promise<Float64Array>,
): Folded | undefined {
  const count = elementCount(shape);
  if (!(count <= MAX_FOLDED_ELEMENTS) || shape.some((n) => !Number.isInteger(n) || n < 0)) {
    return undefined;
  }
  let bytes: Promise<Uint8Array> | undefined;
  const read = async (): Promise<Uint8Array> => encodeFloat64(await compute(), "float64");
  const tensor: LazyTensor = {
    dtype: "float64",
    shape,
    read: async (start = 0, end = count) => {
      bytes ??= read();
      return (await bytes).subarray(start * 8, end * 8);
    },
  };
  return { tensor, dtype, roundings };
}

/** The same numbers under another shape. */
export function reshaped(source: Constant, shape: Shape): Folded | undefined {
  if (elementCount(shape) !== elementCount(source.tensor.shape)) return undefined;
  return {
    tensor: { ...source.tensor, shape },
    dtype: source.dtype,
    roundings: source.roundings,
  };
}

/** Element at position `i` of every axis is `source[offset + Σ stride·i]`. */
export function stridedView(
  source: Constant,
  shape: Shape,
  offset: number,
  strides: readonly number[],
): Folded | undefined {
  return computed(shape, source.dtype, source.roundings, async () => {
    const values = await readFloat64(source.tensor);
    const result = new Float64Array(elementCount(shape));
    forEachPosition(shape, strides, offset, (to, from) => {
      result[to] = values[from]!;
    });
    return result;
  });
}

/** Visits all positions in C order with the flat index that `strides` give. */
export function forEachPosition(
  shape: Shape,
  strides: readonly number[],
  offset: number,
  visit: (flat: number, strided: number) => void,
): void {
  const count = elementCount(shape);
  const position = new Array<number>(shape.length).fill(0);
  let strided = offset;
  for (let flat = 0; flat < count; flat++) {
    visit(flat, strided);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      strided += strides[axis]!;
      position[axis] = position[axis]! + 1;
      if (position[axis]! < shape[axis]!) break;
      strided -= strides[axis]! * shape[axis]!;
      position[axis] = 0;
    }
  }
}

/** C-order strides. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/** The shape both broadcast to; undefined when they do not. */
export function broadcastShape(a: Shape, b: Shape): number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const shape: number[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return undefined;
    shape.push(x === 1 ? y : x);
  }
  return shape;
}

/** Strides that read an operand of shape `from` at positions of the shape `to` it broadcasts to. */
export function broadcastStrides(from: Shape, to: Shape): number[] {
  const own = stridesOf(from);
  return to.map((_, i) => {
    const axis = i - to.length + from.length;
    return axis < 0 || from[axis] === 1 ? 0 : own[axis]!;
  });
}

/**
 * A short integer tensor as numbers (sizes, axes, bounds); undefined when it is long or no integers.
 * Values beyond 2⁵³, which exporters write for "to the end", become the nearest float64.
 */
export async function sizesOf(constant: Constant | undefined): Promise<number[] | undefined> {
  if (!constant || elementCount(constant.tensor.shape) > MAX_SIZES) return undefined;
  const { dtype } = constant.tensor;
  const bytes = await constant.tensor.read();
  if (dtype !== "int64") {
    const values = [...decodeFloat64(bytes, dtype)];
    return values.every((n) => Number.isInteger(n)) ? values : undefined;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.byteLength / 8 }, (_, i) =>
    Number(view.getBigInt64(8 * i, true)),
  );
}

/** An axis counted from the front, or undefined when there is no such axis. */
export function axisOf(axis: number, rank: number): number | undefined {
  const positive = axis < 0 ? axis + rank : axis;
  return Number.isInteger(positive) && positive >= 0 && positive < rank ? positive : undefined;
}

/** Numbers that are an attribute in old operator sets and an input in new ones; undefined when absent or unknown. */
export async function sizesFrom(
  context: FoldContext,
  attribute: string,
  input: number,
): Promise<number[] | undefined> {
  const ints = context.node.attributes.get(attribute);
  return ints?.type === "ints" ? [...ints.value] : sizesOf(context.inputs[input]);
}
