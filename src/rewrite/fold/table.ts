/** @file The operators that are computed when all their inputs are constants, by ONNX operator type. */

import { ELEMENTWISE_FOLDS } from "./elementwise.ts";
import type { Fold } from "./fold.ts";
import { LAYOUT_FOLDS } from "./layout.ts";
import { LINEAR_FOLDS } from "./linear.ts";

export const FOLDS: ReadonlyMap<string, Fold> = new Map(
  Object.entries({ ...ELEMENTWISE_FOLDS, ...LAYOUT_FOLDS, ...LINEAR_FOLDS }),
);
