/**
 * @file How each operator is computed in float64. Which operators have double kernels was found by trial, one session
 * per operator on onnxruntime 1.30.0 (CPU, opsets 7 to 22, optimization off); `rules.test.ts` repeats the trial.
 *
 * - `native`: the runtime has a double kernel for every opset from 17 on; the node is kept.
 * - a rule: the node is rewritten with native operators.
 * - anything else that touches floats is refused by name.
 */

import { intAttribute, type Node } from "../../ir/graph.ts";
import { ACTIVATION_RULES } from "./activations.ts";
import { lowerCast, lowerCastLike, lowerConstantOfShape, lowerDropout } from "./casts.ts";
import type { LoweringContext } from "./context.ts";
import { lowerConv, lowerConvTranspose } from "./conv.ts";
import {
  lowerBatchNormalization,
  lowerGroupNormalization,
  lowerInstanceNormalization,
} from "./normalize.ts";
import { lowerAveragePool, lowerGlobalAveragePool, lowerGlobalMaxPool } from "./pool.ts";
import { lowerResize, scalesInput } from "./resize.ts";
import { UPGRADES } from "./upgrade.ts";

export interface Rule {
  readonly lower: (ctx: LoweringContext, node: Node) => void | Promise<void>;
  /** Values whose shapes it needs. */
  readonly shapes?: (node: Node) => readonly (string | undefined)[];
  /** Values whose elements it needs. */
  readonly values?: (node: Node) => readonly (string | undefined)[];
}

const twoInputs = (node: Node): string[] => node.inputs.slice(0, 2);
const firstInput = (node: Node): string[] => node.inputs.slice(0, 1);

const RESIZE: Rule = {
  lower: lowerResize,
  shapes: (node) => [node.inputs[0], node.outputs[0]],
  values: (node) => [scalesInput(node)],
};

const REWRITTEN: Readonly<Record<string, Rule>> = {
  Conv: { lower: lowerConv, shapes: twoInputs },
  ConvTranspose: { lower: lowerConvTranspose, shapes: twoInputs },
  BatchNormalization: { lower: lowerBatchNormalization, shapes: twoInputs },
  InstanceNormalization: { lower: lowerInstanceNormalization, shapes: twoInputs },
  GroupNormalization: { lower: lowerGroupNormalization, shapes: twoInputs },
  AveragePool: { lower: lowerAveragePool, shapes: firstInput },
  GlobalAveragePool: { lower: lowerGlobalAveragePool, shapes: firstInput },
  GlobalMaxPool: { lower: lowerGlobalMaxPool, shapes: firstInput },
  Resize: RESIZE,
  Upsample: RESIZE,
  Cast: { lower: lowerCast },
  CastLike: { lower: lowerCastLike },
  ConstantOfShape: { lower: lowerConstantOfShape },
  Dropout: { lower: lowerDropout },
  ...Object.fromEntries(Object.entries(ACTIVATION_RULES).map(([op, lower]) => [op, { lower }])),
};

/** Operators with double kernels. */
export const NATIVE: ReadonlySet<string> = new Set(
  (
    "Abs Add ArgMax ArgMin Ceil Clip Compress Concat Cos CumSum DepthToSpace Div Einsum Equal Exp Expand " +
    "Flatten Floor Gather GatherElements GatherND Gemm Greater GreaterOrEqual Identity IsInf IsNaN " +
    "LayerNormalization Less LessOrEqual Log LogSoftmax LpNormalization MatMul Max MaxPool Min Mod Mul Neg Pad Pow " +
    "Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd " +
    "ReduceSum ReduceSumSquare Relu Reshape ReverseSequence Round ScatterElements ScatterND Shape Shrink Sign " +
    "Sin Size Slice Softmax SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Trilu Unsqueeze Where"
  ).split(" "),
);

/** Outputs that are not of the first input's kind (float or not), by operator. */
const BOOLEAN_OR_INTEGER: ReadonlySet<string> = new Set(
  "ArgMax ArgMin Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual NonZero Not Shape Size".split(
    " ",
  ),
);

/** Operators with float outputs and no float input; refused wherever they stand. */
export const MAKES_FLOATS: ReadonlySet<string> = new Set(
  (
    "Bernoulli BlackmanWindow EyeLike HammingWindow HannWindow ImageDecoder Multinomial RandomNormal " +
    "RandomNormalLike RandomUniform RandomUniformLike TfIdfVectorizer"
  ).split(" "),
);

/** The rewriting of `node` in a model of `opset`; undefined: the node is kept as it is. */
export function ruleFor(node: Node, opset: number): Rule | undefined {
  const upgrade = UPGRADES[node.opType];
  if (upgrade && opset < upgrade.since) return { lower: upgrade.rule, shapes: firstInput };
  return Object.hasOwn(REWRITTEN, node.opType) ? REWRITTEN[node.opType] : undefined;
}

/** True when the operator is kept whatever its type, only its written form is renewed. */
export function isUpgrade(node: Node, opset: number): boolean {
  return opset < (UPGRADES[node.opType]?.since ?? 0);
}

export function isSupported(opType: string): boolean {
  return NATIVE.has(opType) || Object.hasOwn(REWRITTEN, opType);
}

/** Which outputs of `node` hold floats, given which inputs do. */
export function floatOutputs(node: Node, isFloat: (value: string) => boolean): boolean[] {
  const first = firstIsFloat(node, isFloat);
  // A second output is an index or a mask (MaxPool, TopK, Dropout); Split's are all alike.
  return node.outputs.map((_, i) => first && (i === 0 || node.opType === "Split"));
}

function firstIsFloat(node: Node, isFloat: (value: string) => boolean): boolean {
  const at = (i: number): boolean => isFloat(node.inputs[i] ?? "");
  if (BOOLEAN_OR_INTEGER.has(node.opType)) return false;
  switch (node.opType) {
    case "Cast":
      return FLOAT_CODES.has(intAttribute(node, "to", 0));
    case "CastLike":
    case "Where":
      return at(1);
    case "ConstantOfShape": {
      const value = node.attributes.get("value");
      return value?.type !== "tensor" || value.value.dtype.includes("float");
    }
    case "OneHot":
      return at(2);
    default:
      return at(node.inputs.findIndex((input) => input !== ""));
  }
}

/** ONNX type codes of float32, float16, float64 and bfloat16. */
const FLOAT_CODES: ReadonlySet<number> = new Set([1, 10, 11, 16]);
