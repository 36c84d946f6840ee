/** @file What `reparam insert` reports, as data. */

import type { Assumption } from "../convert/insert-checkpoint.ts";
import type { BlockKind } from "../rewrite/insert/blocks.ts";
import type { LeftOutBranch } from "../rewrite/insert/branch.ts";
import type { LeftAlone } from "../rewrite/insert/find-convs.ts";
import type { FreshStart } from "../rewrite/insert/fresh-tensors.ts";
import type { Verification } from "../verify/verify.ts";
import type { FileFacts } from "./result.ts";

/** One convolution that became a block. */
export interface InsertedBlock {
  readonly name: string;
  /** The batch norm that went into the block. */
  readonly batchNorm: string | undefined;
  readonly inC: number;
  readonly outC: number;
  readonly group: number;
  readonly kernelShape: readonly number[];
  readonly strides: readonly number[];
  /** In the order of the sum: `3×3+bn`, `1×1+bn`, `bn`. */
  readonly branches: readonly string[];
  readonly leftOut: readonly LeftOutBranch[];
}

export interface InsertionResult {
  readonly input: FileFacts;
  readonly output: FileFacts;
  readonly kind: "onnx" | "checkpoint";
  readonly block: BlockKind;
  readonly fresh: FreshStart | undefined;
  readonly seed: number;
  /** Whether the batch norms have statistics of real data. */
  readonly calibrated: boolean;
  readonly blocks: readonly InsertedBlock[];
  readonly leftAlone: readonly LeftAlone[];
  /** Of a checkpoint. */
  readonly assumptions: readonly Assumption[];
  /** Of a checkpoint: what to say to read it back, and what loads it. */
  readonly family: { readonly name: string; readonly loads: string } | undefined;
  /** Stored floating-point numbers. */
  readonly parameters: { readonly before: number; readonly after: number };
  /** The inserted file as written, against the original; undefined for blocks that start anew. */
  readonly verification: Verification | undefined;
  /** False when the verdict was `DIFFERENT`: then nothing was left behind. */
  readonly published: boolean;
}
