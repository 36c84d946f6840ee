/** @file Where a linear part may start: a value from which a convolution or a linear layer can be reached. */

import { type FloatDType, isFloatDType } from "../core/dtype.ts";
import { intAttribute, isOp, type Node } from "../ir/graph.ts";
import type { Interpreter, Root } from "./interpreter.ts";
import { ruleOf } from "./rules/index.ts";

/** Operators that keep channels and rank: a convolution behind them tells both. */
const KEEPS_CHANNELS = new Set([
  "Add",
  "AveragePool",
  "BatchNormalization",
  "Cast",
  "Div",
  "Dropout",
  "Identity",
  "Mul",
  "Neg",
  "Pad",
  "PadSelf",
  "Sub",
  "Sum",
]);

/** Nodes looked at to find one; blocks begin with it, or with a pad, a pool or a split before it. */
const MAX_ROOT_SEARCH_NODES = 32;

/** Channels, rank and element type of a value; undefined when no linear layer follows or they cannot be told. */
export function rootOf(interpreter: Interpreter, value: string): Root | undefined {
  const type = interpreter.types.get(value);
  const shape = type?.shape;
  const seen = new Set<string>([value]);
  // Whether the path so far kept the channels, so that the layer's input channels are the value's.
  const queue = [{ name: value, kept: true }];
  let budget = MAX_ROOT_SEARCH_NODES;
  for (let at = 0; at < queue.length; at++) {
    const { name, kept } = queue[at]!;
    for (const node of interpreter.index.uses(name)) {
      if (budget-- <= 0) return undefined;
      const layer = node.inputs[0] === name ? layerOf(interpreter, node) : undefined;
      if (layer) {
        if (shape && shape.length !== layer.spatialRank + 2) return undefined;
        const channels = shape?.[1] ?? (kept ? layer.channels : undefined);
        if (typeof channels !== "number") continue;
        const dtype = type?.dtype ?? layer.dtype;
        if (dtype !== layer.dtype) return undefined;
        const sizes = Array.from({ length: layer.spatialRank }, (_, i) => shape?.[i + 2]);
        const batch = shape?.[0];
        return {
          channels,
          spatialRank: layer.spatialRank,
          sizes: sizes.map((n) => (typeof n === "number" ? n : undefined)),
          batch: typeof batch === "number" ? batch : undefined,
          dtype: layer.dtype,
        };
      }
      // Behind a Cast, a layer's element type says nothing of the value's.
      if (!ruleOf(node) || (isOp(node, "Cast") && !type?.dtype)) continue;
      for (const output of node.outputs) {
        if (output === "" || seen.has(output)) continue;
        seen.add(output);
        queue.push({ name: output, kept: kept && KEEPS_CHANNELS.has(node.opType) });
      }
    }
  }
  return undefined;
}

interface Layer {
  readonly channels: number;
  readonly spatialRank: number;
  readonly dtype: FloatDType;
}

/** Input channels of a Conv, Gemm or MatMul with a constant weight. */
function layerOf({ constants, types }: Interpreter, node: Node): Layer | undefined {
  const weight = constants.get(node.inputs[1] ?? "");
  const shape = weight?.tensor.shape;
  if (!shape || !isFloatDType(weight.dtype)) return undefined;
  const { dtype } = weight;
  if (isOp(node, "Conv") && shape.length >= 3) {
    return {
      channels: shape[1]! * intAttribute(node, "group", 1),
      spatialRank: shape.length - 2,
      dtype,
    };
  }
  if (shape.length !== 2) return undefined;
  if (isOp(node, "Gemm") && intAttribute(node, "transA", 0) === 0) {
    return { channels: shape[intAttribute(node, "transB", 0)]!, spatialRank: 0, dtype };
  }
  // A product of stacks of matrices looks the same, but then axis 1 is no channel axis.
  const rank = types.get(node.inputs[0] ?? "")?.shape?.length;
  return isOp(node, "MatMul") && rank === 2
    ? { channels: shape[0]!, spatialRank: 0, dtype }
    : undefined;
}
