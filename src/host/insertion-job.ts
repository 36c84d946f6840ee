/** @file What an insertion writes, for an ONNX model and for a checkpoint: the same facts and the same checks follow. */

import type { PlainNetOptions } from "../convert/checkpoint-convs.ts";
import type { TargetFormat } from "../convert/conversion.ts";
import {
  type Assumption,
  type CheckpointInsertionPlan,
  planCheckpointInsertion,
} from "../convert/insert-checkpoint.ts";
import type { CheckpointFile, OnnxFile, ReadingOptions } from "../convert/open.ts";
import { ReparamError } from "../core/errors.ts";
import { phase, type TaskOptions } from "../core/task.ts";
import { elementCount, type LazyTensor, type Tensor } from "../core/tensor.ts";
import { storedTensors } from "../ir/constant-nodes.ts";
import { graphInputs } from "../ir/graph.ts";
import type { InsertedBlock, InsertionResult } from "../report/insertion-result.ts";
import { applyInsertion } from "../rewrite/insert/apply-insertion.ts";
import type { Block } from "../rewrite/insert/blocks.ts";
import type { Branch, LeftOutBranch } from "../rewrite/insert/branch.ts";
import { calibrateInsertion } from "../rewrite/insert/calibrate.ts";
import type { LeftAlone } from "../rewrite/insert/find-convs.ts";
import {
  type InsertionOptions,
  type InsertionSettings,
  planInsertion,
} from "../rewrite/insert/plan-insertion.ts";
import type { Target } from "../rewrite/insert/target.ts";
import { channelMoments } from "../runtime/channel-statistics.ts";
import type { Runtime } from "../runtime/session.ts";
import type { Content } from "./write-content.ts";

export interface InsertionJobOptions extends InsertionOptions, PlainNetOptions, TaskOptions {
  readonly runtime?: (() => Promise<Runtime>) | undefined;
  readonly calibration?: Tensor | undefined;
}

/** What is to be written and how it is checked, for either kind of file. */
export interface InsertionJob {
  readonly settings: InsertionSettings;
  readonly blocks: readonly InsertedBlock[];
  readonly leftAlone: readonly LeftAlone[];
  readonly assumptions: readonly Assumption[];
  readonly family: InsertionResult["family"];
  readonly parameters: InsertionResult["parameters"];
  readonly content: Content;
  /** The tensors that a checkpoint's blocks have to fuse to, where these are not the input's own. */
  readonly original: CheckpointInsertionPlan["original"];
  readonly reading: ReadingOptions;
}

/** Blocks put into an ONNX model, their statistics measured where data was given. @throws usage, refused */
export async function modelJob(
  file: OnnxFile,
  options: InsertionJobOptions,
): Promise<InsertionJob> {
  const { calibration, runtime } = options;
  let plan = await planInsertion(file.model, { ...options, ...phase("planning", options) });
  if (calibration && runtime && plan.settings.fresh === undefined && plan.insertions.length > 0) {
    const [first, ...others] = graphInputs(file.model.graph);
    if (!first || others.length > 0) {
      throw new ReparamError("usage", {
        where: "calibration",
        what: `the model has ${others.length + (first ? 1 : 0)} inputs, calibration data fits one`,
      });
    }
    const engine = await runtime();
    plan = await calibrateInsertion(file.model, plan, (model, values) =>
      channelMoments(model, engine, values, [new Map([[first.name, calibration]])], options),
    );
  }
  const { model } = applyInsertion(file.model, plan);
  return {
    settings: plan.settings,
    blocks: plan.insertions.map(({ found, block, leftOut }) =>
      insertedBlock(
        found.target,
        block,
        leftOut,
        found.batchNorm?.name ?? found.batchNorm?.outputs[0],
      ),
    ),
    leftAlone: plan.leftAlone,
    assumptions: [],
    family: undefined,
    parameters: {
      before: numbersIn(storedTensors(file.model.graph).values()),
      after: numbersIn(storedTensors(model.graph).values()),
    },
    content: { target: "onnx", model },
    original: undefined,
    reading: file.reading,
  };
}

/** Blocks put into a checkpoint. @throws usage, refused */
export function checkpointJob(
  file: CheckpointFile,
  target: Exclude<TargetFormat, "onnx">,
  options: InsertionJobOptions,
): InsertionJob {
  if (options.calibration) {
    throw new ReparamError("usage", {
      where: file.name,
      what: "is a checkpoint, which cannot be run for calibration",
      fix: "Export the net to ONNX and insert there, or leave --calibrate out",
    });
  }
  const plan = planCheckpointInsertion(file, options);
  const named = plan.tensors.map(({ tensor }) => tensor);
  return {
    settings: plan.settings,
    blocks: plan.insertions.map(({ conv, block, leftOut }) => {
      const bn = conv.keys.find((key) => key.endsWith(".running_mean"));
      return insertedBlock(conv.target, block, leftOut, bn?.replace(/\.running_mean$/, ""));
    }),
    leftAlone: plan.leftAlone,
    assumptions: plan.assumptions,
    family: { name: plan.family.family, loads: plan.family.loads },
    parameters: { before: numbersIn(file.state.tensors.values()), after: numbersIn(named) },
    content: { target, tensors: plan.tensors },
    original: plan.original,
    reading: { ...file.reading, key: undefined, family: plan.family.family },
  };
}

function insertedBlock(
  { name, geometry }: Target,
  { branches }: Block,
  leftOut: readonly LeftOutBranch[],
  batchNorm: string | undefined,
): InsertedBlock {
  return {
    name,
    batchNorm,
    ...{ inC: geometry.inC, outC: geometry.outC, group: geometry.group },
    kernelShape: geometry.axes.map((axis) => axis.kernel),
    strides: geometry.axes.map((axis) => axis.stride),
    branches: branches.map(describeBranch),
    leftOut,
  };
}

/** `3×3+bn`, `bn`, `1×1+bn+3×3 average+bn`: as `inspect` describes blocks. */
function describeBranch({ steps }: Branch): string {
  const words = steps.map((step) => {
    if (step.op === "bn") return "bn";
    const size = step.axes.map((axis) => axis.kernel).join("×");
    return step.op === "average" ? `${size} average` : size;
  });
  return words.join("+");
}

function numbersIn(tensors: Iterable<LazyTensor>): number {
  let total = 0;
  for (const { dtype, shape } of tensors) if (/float/.test(dtype)) total += elementCount(shape);
  return total;
}
