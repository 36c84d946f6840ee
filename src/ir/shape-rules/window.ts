/** @file Shapes of convolutions and pools. `[batch, channels, ...spatial]` */

import { badData } from "../../core/errors.ts";
import { convAttributes, poolAttributes, type Window } from "../conv-attributes.ts";
import { type Attribute, type Dim, intAttribute, intsAttribute } from "../graph.ts";
import { type InferredType, mapDim, type RuleContext, type ShapeRule, UNKNOWN } from "./context.ts";

/** Output length of one axis: floor or ceil of (in + pads − dilation·(kernel − 1) − 1) / stride, plus 1. */
function windowAxis(where: string, dim: Dim, window: Window, i: number, ceil = false): Dim {
  const [kernel, stride, dilation] = [
    window.kernelShape[i]!,
    window.strides[i]!,
    window.dilations[i]!,
  ];
  if (window.autoPad !== "NOTSET") {
    return mapDim(dim, (n) => Math.ceil(n / stride), stride === 1);
  }
  const pads = window.beginPads[i]! + window.endPads[i]!;
  const reach = dilation * (kernel - 1);
  return mapDim(
    dim,
    (n) => {
      const steps = (n + pads - reach - 1) / stride;
      if (steps < 0) {
        throw badData(
          where,
          `axis ${i + 2} has ${n} elements, its window reaches over ${reach + 1}`,
        );
      }
      if (!ceil) return Math.floor(steps) + 1;
      const length = Math.ceil(steps) + 1;
      // A last window that would start beyond the input and its begin padding is left out.
      return (length - 1) * stride >= n + window.beginPads[i]! ? length - 1 : length;
    },
    stride === 1 && pads === reach,
  );
}

export const conv: ShapeRule = ({ node, where, input }) => {
  const x = input(0);
  const weight = numbersOnly(input(1).shape);
  if (!x.shape || !weight) return [{ ...UNKNOWN, dtype: x.dtype }];
  const attributes = convAttributes(node, weight, where);
  assertRank(where, x.shape, weight.length);
  const inC = weight[1]! * attributes.group;
  if (typeof x.shape[1] === "number" && x.shape[1] !== inC) {
    throw badData(where, `the input has ${x.shape[1]} channels, expected ${inC} as the weight has`);
  }
  const spatial = x.shape.slice(2).map((dim, i) => windowAxis(where, dim, attributes, i));
  return [{ dtype: x.dtype, shape: [x.shape[0], weight[0], ...spatial] }];
};

export const convTranspose: ShapeRule = ({ node, where, input }) => {
  const x = input(0);
  const weight = numbersOnly(input(1).shape);
  if (!x.shape || !weight) return [{ ...UNKNOWN, dtype: x.dtype }];
  assertRank(where, x.shape, weight.length);
  // The weight is [inC, outC/group, ...kernelShape].
  const group = intAttribute(node, "group", 1);
  const kernelShape: Attribute = { type: "ints", value: weight.slice(2) };
  const attributes = new Map<string, Attribute>([
    ...node.attributes,
    ["kernel_shape", kernelShape],
  ]);
  const window = poolAttributes({ ...node, attributes }, weight.length - 2, where);
  const outputShape = intsAttribute(node, "output_shape");
  const outputPadding = intsAttribute(node, "output_padding");
  const spatial = x.shape.slice(2).map((dim, i): Dim => {
    if (outputShape) return outputShape[i];
    const stride = window.strides[i]!;
    if (window.autoPad !== "NOTSET") return mapDim(dim, (n) => n * stride, stride === 1);
    const reach = window.dilations[i]! * (window.kernelShape[i]! - 1) + 1;
    const pads = window.beginPads[i]! + window.endPads[i]!;
    return mapDim(dim, (n) => stride * (n - 1) + (outputPadding?.[i] ?? 0) + reach - pads);
  });
  return [{ dtype: x.dtype, shape: [x.shape[0], weight[1]! * group, ...spatial] }];
};

export const pool: ShapeRule = ({ node, where, input }) => {
  const x = input(0);
  if (!x.shape) return [{ ...UNKNOWN, dtype: x.dtype }];
  const window = poolAttributes(node, x.shape.length - 2, where);
  const ceil = intAttribute(node, "ceil_mode", 0) === 1;
  const spatial = x.shape.slice(2).map((dim, i) => windowAxis(where, dim, window, i, ceil));
  const shape = [x.shape[0], x.shape[1], ...spatial];
  // MaxPool's second output holds the places of the maxima.
  return [
    { dtype: x.dtype, shape },
    { dtype: "int64", shape },
  ];
};

export const globalPool: ShapeRule = ({ input }: RuleContext): InferredType[] => {
  const { dtype, shape } = input(0);
  return [{ dtype, shape: shape?.map((dim, i) => (i < 2 ? dim : 1)) }];
};

function numbersOnly(shape: readonly Dim[] | undefined): number[] | undefined {
  return shape?.every((dim) => typeof dim === "number") ? (shape as number[]) : undefined;
}

function assertRank(where: string, shape: readonly Dim[], rank: number): void {
  if (shape.length !== rank) {
    throw badData(where, `the input has ${shape.length} dimensions, the weight ${rank}`);
  }
}
