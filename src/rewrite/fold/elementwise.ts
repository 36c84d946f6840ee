/** @file Elementwise operators over constants, with broadcasting; float64 throughout. */

import { type DType, isFloatDType } from "../../core/dtype.ts";
import { elementCount, readFloat64 } from "../../core/tensor.ts";
import { DTYPE_OF_CODE } from "../../ir/element-type.ts";
import { intAttribute } from "../../ir/graph.ts";
import type { Constant } from "../constants.ts";
import {
  broadcastShape,
  broadcastStrides,
  computed,
  type Fold,
  type Folded,
  forEachPosition,
} from "./fold.ts";

type Apply = (...operands: number[]) => number;

function elementwise(apply: Apply, rounds: 0 | 1, result?: DType): Fold {
  return async ({ inputs }) => {
    const operands = inputs.filter((input) => input !== undefined);
    if (operands.length !== inputs.length) return undefined;
    return combine(operands, apply, rounds, result);
  };
}

function combine(
  operands: readonly Pick<Constant, "tensor" | "dtype" | "roundings">[],
  apply: Apply,
  rounds: 0 | 1,
  result: DType = operands.at(-1)!.dtype,
): Folded | undefined {
  let shape: readonly number[] | undefined = [];
  for (const operand of operands) shape = shape && broadcastShape(shape, operand.tensor.shape);
  if (!shape) return undefined;
  const full = shape;
  const rounding: number = isFloatDType(result) ? rounds : 0;
  const roundings = operands.reduce((sum, operand) => sum + operand.roundings, rounding);
  return computed(full, result, roundings, async () => {
    const values = await Promise.all(operands.map((operand) => readFloat64(operand.tensor)));
    const count = elementCount(full);
    const columns = operands.map((operand, n) => {
      if (values[n]!.length === count) return values[n]!;
      const column = new Float64Array(count);
      forEachPosition(full, broadcastStrides(operand.tensor.shape, full), 0, (to, from) => {
        column[to] = values[n]![from]!;
      });
      return column;
    });
    return Float64Array.from({ length: count }, (_, i) => apply(...columns.map((c) => c[i]!)));
  });
}

/** Integer division drops the remainder, as ONNX has it. */
const divide: Fold = async (context) => {
  const dtype = context.inputs[0]?.dtype;
  return dtype && isFloatDType(dtype)
    ? elementwise((a, b) => a! / b!, 1)(context)
    : elementwise((a, b) => Math.trunc(a! / b!), 0)(context);
};

/** Casts that keep every number: to a wider float type, among integers, from integers to floats. */
const cast: Fold = async ({ node, inputs }) => {
  const [input] = inputs;
  const to = DTYPE_OF_CODE[intAttribute(node, "to", 0)];
  if (!input || !to || to === "string") return undefined;
  if (to === input.dtype) return { ...input };
  const integers: readonly DType[] = ["int64", "int32", "bool"];
  const widens =
    (to === "float64" && isFloatDType(input.dtype)) ||
    (to === "float32" && (input.dtype === "float16" || input.dtype === "bfloat16")) ||
    (integers.includes(input.dtype) &&
      to !== "bool" &&
      (integers.includes(to) || isFloatDType(to)));
  return widens ? { ...input, dtype: to } : undefined;
};

const where: Fold = async ({ inputs }) => {
  const [condition, a, b] = inputs;
  if (!condition || !a || !b || a.dtype !== b.dtype) return undefined;
  return combine([condition, a, b], (c, x, y) => (c ? x! : y!), 0);
};

export const ELEMENTWISE_FOLDS: Readonly<Record<string, Fold>> = {
  Abs: elementwise((a) => Math.abs(a!), 0),
  Add: elementwise((a, b) => a! + b!, 1),
  Cast: cast,
  Div: divide,
  Equal: elementwise((a, b) => (a === b ? 1 : 0), 0, "bool"),
  Exp: elementwise((a) => Math.exp(a!), 1),
  Identity: async ({ inputs: [input] }) => input && { ...input },
  Mul: elementwise((a, b) => a! * b!, 1),
  Neg: elementwise((a) => -a!, 0),
  Pow: elementwise((a, b) => a! ** b!, 1),
  Reciprocal: elementwise((a) => 1 / a!, 1),
  Sqrt: elementwise((a) => Math.sqrt(a!), 1),
  Sub: elementwise((a, b) => a! - b!, 1),
  Where: where,
};
