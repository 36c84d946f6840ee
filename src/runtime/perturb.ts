/**
 * @file Which constants of a model are parameters that may move by a rounding, and the lowered model with them moved.
 *
 * A constant is a parameter when all that is done with it is linear arithmetic or normalization. Exponents, clip
 * bounds, resize scales, comparison thresholds and the like are part of the function's form: moved by one ulp they
 * would make another function (x^2 with exponent 2.0000001 is undefined for x < 0).
 */

import { isFloatDType } from "../core/dtype.ts";
import { isOp, type Model, type Node } from "../ir/graph.ts";
import type { LoweredModel } from "./lower-float64.ts";
import { type Perturbation, parameterTensor } from "./parameter-data.ts";

/** Operators whose float inputs may all be parameters. */
const ARITHMETIC: ReadonlySet<string> = new Set(
  (
    "Conv ConvTranspose Gemm MatMul Einsum BatchNormalization InstanceNormalization LayerNormalization " +
    "GroupNormalization PRelu Add Sub Mul Div Sum Mean"
  ).split(" "),
);

/** Operators that hand their first input on, element by element. */
const PASSING: ReadonlySet<string> = new Set(
  "Identity Reshape Transpose Unsqueeze Squeeze Flatten Cast Expand Tile Concat Slice Split Gather Dropout Neg".split(
    " ",
  ),
);

/** Names of the constants (initializers and `Constant` nodes) that may move. */
export function perturbableParameters(model: Model): Set<string> {
  const readers = new Map<string, Node[]>();
  for (const node of model.graph.nodes) {
    for (const input of node.inputs) {
      const list = readers.get(input);
      if (list) list.push(node);
      else readers.set(input, [node]);
    }
  }
  const verdicts = new Map<string, boolean>();
  const mayMove = (value: string): boolean => {
    const known = verdicts.get(value);
    if (known !== undefined) return known;
    verdicts.set(value, true);
    const result = (readers.get(value) ?? []).every((node) => {
      if (ARITHMETIC.has(node.opType)) return true;
      return PASSING.has(node.opType) && node.outputs.every(mayMove);
    });
    verdicts.set(value, result);
    return result;
  };
  const names = new Set<string>();
  for (const [name, value] of model.graph.initializers) {
    if (isFloatDType(value.dtype) && readers.has(name) && mayMove(name)) names.add(name);
  }
  for (const node of model.graph.nodes) {
    const name = node.outputs[0] ?? "";
    if (isOp(node, "Constant") && readers.has(name) && mayMove(name)) names.add(name);
  }
  return names;
}

/**
 * The lowered model with every parameter in `movable` moved: p ↦ p · (1 + unit · ξ). The same seed moves the same
 * elements by the same amounts, and the elements of a parameter that is used twice alike.
 */
export function perturbParameters(
  lowered: LoweredModel,
  movable: ReadonlySet<string>,
  perturbation: Perturbation,
): Model {
  const initializers = new Map(lowered.model.graph.initializers);
  for (const [name, parameter] of lowered.parameters) {
    const moved = movable.has(parameter.source) ? perturbation : undefined;
    initializers.set(name, parameterTensor(parameter, moved));
  }
  return { ...lowered.model, graph: { ...lowered.model.graph, initializers } };
}
