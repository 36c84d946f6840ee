/** @file Every operator that has a gradient rule. */

import { ACTIVATION_RULES } from "./activations.ts";
import { CONV_RULES } from "./conv.ts";
import { ELEMENTWISE_RULES } from "./elementwise.ts";
import { MATMUL_RULES } from "./matmul.ts";
import { POOL_RULES } from "./pool.ts";
import { RESAMPLE_RULES } from "./resample.ts";
import type { GradientRule } from "./rule.ts";
import { SHAPE_RULES } from "./shape.ts";

/** By ONNX operator; BatchNormalization and MaxPool also have a forward of their own (`forward.ts`). */
export const GRADIENT_RULES: ReadonlyMap<string, GradientRule> = new Map(
  Object.entries({
    ...CONV_RULES,
    ...MATMUL_RULES,
    ...ELEMENTWISE_RULES,
    ...ACTIVATION_RULES,
    ...POOL_RULES,
    ...SHAPE_RULES,
    ...RESAMPLE_RULES,
  }),
);
