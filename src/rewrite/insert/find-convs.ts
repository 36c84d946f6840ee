/** @file Convolutions of a graph that a block could stand for, and those that none can, with the reason. */

import type { ConvAxis } from "../../algebra/convolve.ts";
import { isReparamError } from "../../core/errors.ts";
import { type ConvAttributes, convAttributes } from "../../ir/conv-attributes.ts";
import { floatAttribute, intAttribute, isOp, type Node, nodeLabel } from "../../ir/graph.ts";
import type { GraphIndex } from "../../ir/index-graph.ts";
import type { ValueType } from "../../ir/infer-shapes.ts";
import type { Constant } from "../constants.ts";
import { toParameter } from "../rules/context.ts";
import type { ConvGeometry } from "./branch.ts";
import type { Target } from "./target.ts";

/** A convolution node and the batch norm that alone reads it. */
export interface FoundConv {
  readonly name: string;
  readonly conv: Node;
  readonly batchNorm: Node | undefined;
  readonly target: Target;
}

/** A layer that stays as it is. */
export interface LeftAlone {
  readonly name: string;
  readonly reason: string;
}

export interface ConvSurroundings {
  readonly index: GraphIndex;
  readonly constants: ReadonlyMap<string, Constant>;
  readonly types: ReadonlyMap<string, ValueType>;
}

/** Convolution operators that are no plain `Conv`. */
const OTHER_CONVOLUTIONS: ReadonlyMap<string, string> = new Map([
  ["ConvTranspose", "it is transposed: its blocks would not be sums of plain convolutions"],
  ["ConvInteger", "its weights are integers"],
  ["QLinearConv", "its weights are integers"],
  ["DeformConv", "its taps move with the data"],
]);

/** Undefined for a node that is no convolution or has a single tap. */
export function findConv(node: Node, around: ConvSurroundings): FoundConv | LeftAlone | undefined {
  const other = node.domain === "" ? OTHER_CONVOLUTIONS.get(node.opType) : undefined;
  if (other) return { name: convName(node), reason: other };
  if (!isOp(node, "Conv")) return undefined;
  const name = convName(node);
  const weight = around.constants.get(node.inputs[1] ?? "");
  if (!weight) return { name, reason: "its weight is computed while the model runs" };
  if (weight.tensor.shape.slice(2).every((n) => n === 1)) return undefined;
  const { dtype } = weight;
  if (dtype !== "float32" && dtype !== "float64") {
    return { name, reason: `its weight is ${dtype}; blocks are trained in float32` };
  }
  const biasName = node.inputs[2];
  const bias = biasName ? around.constants.get(biasName) : undefined;
  if (biasName && !bias) return { name, reason: "its bias is computed while the model runs" };
  const geometry = geometryOf(node, weight, around);
  if (typeof geometry === "string") return { name, reason: geometry };
  const batchNorm = batchNormAfter(node, around);
  return {
    name,
    conv: node,
    batchNorm,
    target: {
      name,
      geometry,
      weight: toParameter(weight),
      bias: bias && toParameter(bias),
      batchNorm: batchNorm && batchNormOf(batchNorm, around),
      dtype,
    },
  };
}

/** The module the weight belongs to, where the exporter kept its name; else the node's name as a dotted path. */
function convName(node: Node): string {
  const weight = node.inputs[1] ?? "";
  if (/.\.weight$/.test(weight)) return weight.replace(/\.weight$/, "");
  const path = nodeLabel(node)
    .replace(/^\/+|\/+Conv[^/]*$/g, "")
    .replaceAll("/", ".");
  return path === "" ? nodeLabel(node) : path;
}

function geometryOf(
  node: Node,
  weight: Constant,
  { types }: ConvSurroundings,
): ConvGeometry | string {
  const [outC = 0, perGroup = 0] = weight.tensor.shape;
  let attributes: ConvAttributes;
  try {
    attributes = convAttributes(node, weight.tensor.shape, nodeLabel(node));
  } catch (error) {
    if (isReparamError(error, "bad-data")) return error.what;
    throw error;
  }
  if (outC === 0 || perGroup === 0) return "it has no channels";
  const input = types.get(node.inputs[0] ?? "")?.shape;
  const axes: ConvAxis[] = [];
  for (const [i, kernel] of attributes.kernelShape.entries()) {
    const stride = attributes.strides[i]!;
    const dilation = attributes.dilations[i]!;
    let [beginPad, endPad] = [attributes.beginPads[i]!, attributes.endPads[i]!];
    if (attributes.autoPad !== "NOTSET") {
      const size = input?.[i + 2];
      const reach = dilation * (kernel - 1);
      if (stride !== 1 && typeof size !== "number") {
        return `auto_pad ${attributes.autoPad} with stride ${stride} depends on the input size`;
      }
      const total =
        stride === 1
          ? reach
          : Math.max(
              0,
              (Math.ceil((size as number) / stride) - 1) * stride + reach + 1 - (size as number),
            );
      const small = Math.floor(total / 2);
      [beginPad, endPad] =
        attributes.autoPad === "SAME_UPPER" ? [small, total - small] : [total - small, small];
    }
    axes.push({ kernel, stride, dilation, beginPad, endPad });
  }
  return { outC, inC: perGroup * attributes.group, group: attributes.group, axes };
}

/** The batch norm that is used next: it alone reads the convolution's output, whatever is registered after it. */
function batchNormAfter(conv: Node, { index, constants }: ConvSurroundings): Node | undefined {
  const output = conv.outputs[0] ?? "";
  const [reader, ...others] = index.uses(output);
  if (!reader || others.length > 0 || index.isOutput(output)) return undefined;
  const inference =
    isOp(reader, "BatchNormalization") &&
    reader.inputs[0] === output &&
    intAttribute(reader, "training_mode", 0) === 0 &&
    intAttribute(reader, "spatial", 1) === 1 &&
    reader.outputs.filter((name) => name !== "").length === 1 &&
    reader.inputs.length === 5 &&
    reader.inputs.slice(1).every((name) => constants.has(name));
  return inference ? reader : undefined;
}

function batchNormOf(node: Node, { constants }: ConvSurroundings): Target["batchNorm"] {
  const [gamma, beta, mean, variance] = node.inputs
    .slice(1)
    .map((name) => toParameter(constants.get(name)!));
  return {
    gamma: gamma!,
    beta: beta!,
    mean: mean!,
    variance: variance!,
    epsilon: Math.fround(floatAttribute(node, "epsilon", 1e-5)),
  };
}
