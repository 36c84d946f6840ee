/** @file The operators the engine understands. Everything else ends a region. */

import type { Node } from "../../ir/graph.ts";
import type { Rule } from "./context.ts";
import { averagePoolRule, convRule } from "./conv.ts";
import {
  addRule,
  batchNormRule,
  divRule,
  mulRule,
  negRule,
  subRule,
  sumRule,
} from "./elementwise.ts";
import { gemmRule } from "./gemm.ts";
import {
  castRule,
  concatRule,
  dropoutRule,
  gatherRule,
  identityRule,
  padRule,
  padSelfRule,
  sliceRule,
  splitRule,
} from "./layout.ts";

/** Domain of operators that only block recipes use. */
export const RECIPE_DOMAIN = "reparam";

/** By ONNX operator type. */
export const RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ["Add", addRule],
  ["AveragePool", averagePoolRule],
  ["BatchNormalization", batchNormRule],
  ["Cast", castRule],
  ["Concat", concatRule],
  ["Conv", convRule],
  ["Div", divRule],
  ["Dropout", dropoutRule],
  ["Gather", gatherRule],
  ["Gemm", gemmRule],
  ["Identity", identityRule],
  ["MatMul", gemmRule],
  ["Mul", mulRule],
  ["Neg", negRule],
  ["Pad", padRule],
  ["Slice", sliceRule],
  ["Split", splitRule],
  ["Sub", subRule],
  ["Sum", sumRule],
]);

const RECIPE_RULES: ReadonlyMap<string, Rule> = new Map([["PadSelf", padSelfRule]]);

export function ruleOf(node: Node): Rule | undefined {
  if (node.domain === "" || node.domain === "ai.onnx") return RULES.get(node.opType);
  return node.domain === RECIPE_DOMAIN ? RECIPE_RULES.get(node.opType) : undefined;
}
