/** @file The shape rule of every operator of the standard domain that we infer. */

import { constant, constantOfShape, range, shapeOf, sizeOf } from "./constant.ts";
import type { ShapeRule } from "./context.ts";
import {
  add,
  arithmetic,
  broadcastAll,
  cast,
  compare,
  divide,
  dropout,
  equal,
  identity,
  multiply,
  prelu,
  sameAsInput,
  subtract,
  where,
} from "./elementwise.ts";
import {
  concat,
  depthToSpace,
  expand,
  flatten,
  gather,
  pad,
  resize,
  spaceToDepth,
  split,
  squeeze,
  tile,
  transpose,
  unsqueeze,
} from "./layout.ts";
import { argReduce, gemm, matMul, reduce } from "./matrix.ts";
import { reshape } from "./reshape.ts";
import { slice } from "./slice.ts";
import { conv, convTranspose, globalPool, pool } from "./window.ts";

const SAME_AS_INPUT =
  "Abs Acos Asin Atan BatchNormalization BitwiseNot Ceil Celu Clip Cos Cosh CumSum Elu Erf Exp Floor Gelu GroupNormalization HardSigmoid HardSwish Hardmax InstanceNormalization LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization MeanVarianceNormalization Mish Neg Not Reciprocal Relu Round ScatterElements ScatterND Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu Trilu";
const COMPARISONS = "And Greater GreaterOrEqual Less LessOrEqual Or Xor";
const REDUCTIONS =
  "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare";

function row(names: string, rule: ShapeRule): [string, ShapeRule][] {
  return names.split(" ").map((name) => [name, rule]);
}

/** By operator name. Operators that are not here give values of unknown type. */
export const SHAPE_RULES: ReadonlyMap<string, ShapeRule> = new Map<string, ShapeRule>([
  ...row(SAME_AS_INPUT, sameAsInput),
  ...row(COMPARISONS, compare),
  ...row(REDUCTIONS, reduce),
  ...row("ArgMax ArgMin", argReduce),
  ...row("Max Mean Min Sum", broadcastAll),
  ...row("Mod Pow", arithmetic),
  ...row("AveragePool LpPool MaxPool", pool),
  ...row("GlobalAveragePool GlobalLpPool GlobalMaxPool", globalPool),
  ...row("Resize Upsample", resize),
  ["Add", add],
  ["Cast", cast],
  ["Concat", concat],
  ["Constant", constant],
  ["ConstantOfShape", constantOfShape],
  ["Conv", conv],
  ["ConvTranspose", convTranspose],
  ["DepthToSpace", depthToSpace],
  ["Div", divide],
  ["Dropout", dropout],
  ["Equal", equal],
  ["Expand", expand],
  ["Flatten", flatten],
  ["Gather", gather],
  ["Gemm", gemm],
  ["Identity", identity],
  ["MatMul", matMul],
  ["Mul", multiply],
  ["PRelu", prelu],
  ["Pad", pad],
  ["Range", range],
  ["Reshape", reshape],
  ["Shape", shapeOf],
  ["Size", sizeOf],
  ["Slice", slice],
  ["SpaceToDepth", spaceToDepth],
  ["Split", split],
  ["Squeeze", squeeze],
  ["Sub", subtract],
  ["Tile", tile],
  ["Transpose", transpose],
  ["Unsqueeze", unsqueeze],
  ["Where", where],
]);
