/** @file Shapes of matrix products and reductions. */

import { badData } from "../../core/errors.ts";
import { type Dim, intAttribute, intsAttribute } from "../graph.ts";
import {
  broadcast,
  type RuleContext,
  type ShapeRule,
  toAxis,
  toNumbers,
  unknownDims,
} from "./context.ts";

export const gemm: ShapeRule = ({ node, where, input }) => {
  const [a, b] = [input(0), input(1)];
  const [transA, transB] = [intAttribute(node, "transA", 0), intAttribute(node, "transB", 0)];
  for (const { shape } of [a, b]) {
    if (shape && shape.length !== 2)
      throw badData(where, `a factor has ${shape.length} dimensions, expected 2`);
  }
  assertEqual(where, a.shape?.[transA ? 0 : 1], b.shape?.[transB ? 1 : 0]);
  return [{ dtype: a.dtype, shape: [a.shape?.[transA ? 1 : 0], b.shape?.[transB ? 0 : 1]] }];
};

/** Numpy's matmul: vectors gain an axis that is taken away again; leading axes broadcast. */
export const matMul: ShapeRule = ({ where, input }) => {
  const { dtype, shape: a } = input(0);
  const { shape: b } = input(1);
  if (!a || !b) return [{ dtype, shape: undefined }];
  if (a.length === 0 || b.length === 0) throw badData(where, "a factor is a scalar");
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  assertEqual(where, left.at(-1), right.at(-2));
  const lead = broadcast(where, [left.slice(0, -2), right.slice(0, -2)]) ?? [];
  const rows = a.length === 1 ? [] : [left.at(-2)];
  const columns = b.length === 1 ? [] : [right.at(-1)];
  return [{ dtype, shape: [...lead, ...rows, ...columns] }];
};

/** ReduceMean and its kin: axes are an attribute, in newer opsets an input; none means all. */
export const reduce: ShapeRule = async (context) => {
  const { node, input } = context;
  const { dtype, shape } = input(0);
  if (!shape) return [{ dtype, shape }];
  const keep = intAttribute(node, "keepdims", 1) === 1;
  const axes = await reducedAxes(context, shape.length);
  if (!axes) return [{ dtype, shape: keep ? unknownDims(shape.length) : undefined }];
  return [{ dtype, shape: reduceShape(shape, axes, keep) }];
};

async function reducedAxes(
  { node, where, values }: RuleContext,
  rank: number,
): Promise<ReadonlySet<number> | undefined> {
  let axes = intsAttribute(node, "axes");
  if (!axes && node.inputs[1]) {
    axes = toNumbers(await values(1));
    if (!axes) return undefined;
  }
  if (!axes || axes.length === 0) {
    const none = intAttribute(node, "noop_with_empty_axes", 0) === 1;
    return new Set(none ? [] : Array.from({ length: rank }, (_, i) => i));
  }
  return new Set(axes.map((axis) => toAxis(where, axis, rank)));
}

export const argReduce: ShapeRule = ({ node, where, input }) => {
  const { shape } = input(0);
  if (!shape) return [{ dtype: "int64", shape }];
  const axis = toAxis(where, intAttribute(node, "axis", 0), shape.length);
  const keep = intAttribute(node, "keepdims", 1) === 1;
  return [{ dtype: "int64", shape: reduceShape(shape, new Set([axis]), keep) }];
};

function reduceShape(shape: readonly Dim[], axes: ReadonlySet<number>, keep: boolean): Dim[] {
  return keep
    ? shape.map((dim, i) => (axes.has(i) ? 1 : dim))
    : shape.filter((_, i) => !axes.has(i));
}

function assertEqual(where: string, a: Dim, b: Dim): void {
  if (typeof a === "number" && typeof b === "number" && a !== b) {
    throw badData(where, `the factors have ${a} columns and ${b} rows, expected equal numbers`);
  }
}
