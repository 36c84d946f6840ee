/** @file What the commands report: one result per command, which text, JSON and HTML are made from. */

import type { Conversion, WrittenConversion } from "../convert/conversion.ts";
import type { Inspection } from "../convert/inspect.ts";
import type { KnownLayout } from "../convert/known-layout.ts";
import type { CheckpointPlan } from "../convert/plan-checkpoint.ts";
import type { Plan } from "../rewrite/plan.ts";
import type { TrainRecord } from "../train/train-model.ts";
import type { GoldenComparison } from "../verify/golden.ts";
import type { NoisePoint } from "../verify/noise-floor.ts";
import type { VerdictWord } from "../verify/verdict.ts";
import type { Verification } from "../verify/verify.ts";
import type { RepVggArch } from "../zoo/nets/index.ts";

/** A file on disk. */
export interface FileFacts {
  readonly path: string;
  /** External data of an ONNX model included. */
  readonly sizeBytes: number;
}

export interface ConversionResult {
  readonly input: FileFacts;
  readonly output: FileFacts;
  readonly conversion: Conversion;
  /** The net around the blocks, where it is known. */
  readonly layout: KnownLayout | undefined;
  readonly written: WrittenConversion;
  /** The verdict on the bytes as written, read back; undefined when it was not asked for. */
  readonly verification: Verification | undefined;
  /** Whether the output has its name. False when the verdict was `DIFFERENT`: then nothing was left behind. */
  readonly published: boolean;
}

export interface VerificationResult {
  readonly training: FileFacts;
  readonly deploy: FileFacts;
  readonly verification: Verification;
  readonly golden: GoldenComparison | undefined;
  /** The error of both forms by depth, where it was asked for and both nets are known. */
  readonly noise?: readonly NoisePoint[] | undefined;
}

export interface InspectionResult {
  readonly input: FileFacts;
  readonly inspection: Inspection;
}

export type PlanResult =
  | {
      readonly kind: "onnx";
      readonly input: FileFacts;
      readonly plan: Plan;
    }
  | {
      readonly kind: "checkpoint";
      readonly input: FileFacts;
      readonly plan: CheckpointPlan;
      /** The net around the blocks, where it is known. */
      readonly layout: KnownLayout;
    };

export interface CreationResult {
  readonly output: FileFacts;
  readonly arch: RepVggArch;
  readonly form: "training" | "deploy";
  readonly seed: number;
  readonly parameters: number;
}

export interface TrainingResult {
  /** Its published name, or the file it came from. */
  readonly net: string;
  readonly data: { readonly kind: string; readonly path: string; readonly samples: number };
  /** The training form. */
  readonly output: FileFacts;
  /** The deploy form on disk, if one was asked for. */
  readonly deploy: (FileFacts & { readonly verdict: VerdictWord | undefined }) | undefined;
  readonly epochs: number;
  readonly history: readonly TrainRecord[];
  /** Images that could not be decoded. */
  readonly skipped: readonly string[];
  readonly accuracy: {
    readonly split: "validation" | "training";
    readonly count: number;
    /** Images classified right. */
    readonly training: number;
    readonly deploy: number;
    /** Images that both forms put into the same class, right or wrong. */
    readonly sameClass: number;
  };
  /** Training form against deploy form, both in memory. */
  readonly verification: Verification;
}
