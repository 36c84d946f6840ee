/**
 * @file Insertion from file to file: planned, written under a temporary name, read back and compared with the original,
 * and only then given its name.
 */

import { realpath } from "node:fs/promises";
import { basename } from "node:path";
import { crc32 } from "node:zlib";
import type { PlainNetOptions } from "../convert/checkpoint-convs.ts";
import {
  type Assumption,
  type CheckpointInsertionPlan,
  planCheckpointInsertion,
} from "../convert/insert-checkpoint.ts";
import { type ModelFile, openModelFile, type ReadingOptions } from "../convert/open.ts";
import { isReparamError, ReparamError, throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import {
  byteLength,
  elementCount,
  type LazyTensor,
  type Shape,
  type Tensor,
} from "../core/tensor.ts";
import type { ExternalFiles } from "../formats/onnx/external-data.ts";
import { writeModel } from "../formats/onnx/write-model.ts";
import { writePytorch } from "../formats/pytorch/write-pytorch.ts";
import { writeSafetensors } from "../formats/safetensors/write-safetensors.ts";
import { graphInputs, type Model } from "../ir/graph.ts";
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
import { type Verification, verify } from "../verify/verify.ts";
import { createFileSink, type FileSink } from "./file-sink.ts";
import { openModelPath } from "./open-model.ts";
import { targetFormat } from "./target-format.ts";

export interface InsertFileOptions
  extends InsertionOptions,
    PlainNetOptions,
    ReadingOptions,
    TaskOptions {
  /** Overwrite an existing output. Default false. */
  readonly force?: boolean | undefined;
  /** Runs ONNX models for calibration and for the whole network's certificate. Default: neither. */
  readonly runtime?: (() => Promise<Runtime>) | undefined;
  /** Values of the first input, a batch as the net was trained on; gives the batch norms their statistics. ONNX only. */
  readonly calibration?: Tensor | undefined;
  /** `whole` (default): also run original and result, where there is a runtime and a graph. */
  readonly check?: "weights" | "whole" | undefined;
  /** Shape of the first input for the whole network's certificate, where the model leaves it open. */
  readonly inputShape?: Shape | undefined;
}

/** Weights above this many bytes go to a second file: protobuf ends at 2³¹ − 1, the graph itself needs some. */
const MAX_INLINE_BYTES = 2 ** 31 - 2 ** 24;

/**
 * Replicas of certificate C. The weights are proved already; this looks for graphs that differ, which shows far above
 * any noise, and fewer replicas only make it stricter.
 */
const REPLICAS = 5;

/**
 * Puts blocks into the model or checkpoint at `path` and verifies the bytes that were written. With the verdict
 * `DIFFERENT` nothing is left behind and `published` is false. ONNX weights above 2 GiB go to `<outPath>.data`.
 *
 * @throws usage (the output is the input, unknown or other ending, options), refused (no block fits anywhere),
 * cannot-write, what opening a file throws; aborted
 */
export async function insertFile(
  path: string,
  outPath: string,
  options: InsertFileOptions = {},
): Promise<InsertionResult> {
  const target = targetFormat(outPath);
  await assertOtherFile(path, outPath);
  const input = await openModelPath(path, options);
  try {
    const { file } = input;
    if ((file.kind === "onnx") !== (target === "onnx")) {
      throw new ReparamError("usage", {
        where: outPath,
        what: `the input is ${file.kind === "onnx" ? "an ONNX model" : "a checkpoint"} and the output is not`,
        fix: `Give an output that ends in ${file.kind === "onnx" ? ".onnx" : ".pth or .safetensors"}`,
      });
    }
    const job = file.kind === "onnx" ? await modelJob(file, options) : checkpointJob(file, options);
    if (job.blocks.length === 0) throw nothingFits(path, job.leftAlone);
    const written = await write(file, job, outPath, options);
    const { settings, blocks, leftAlone, assumptions, family, parameters } = job;
    return {
      input: { path, sizeBytes: input.sizeBytes() },
      kind: file.kind,
      ...{ block: settings.block, fresh: settings.fresh, seed: settings.seed },
      calibrated: options.calibration !== undefined && settings.fresh === undefined,
      ...{ blocks, leftAlone, assumptions, family, parameters },
      ...written,
    };
  } finally {
    await input.close();
  }
}

/** What is to be written and how it is checked, for either kind of file. */
interface Job {
  readonly settings: InsertionSettings;
  readonly blocks: readonly InsertedBlock[];
  readonly leftAlone: readonly LeftAlone[];
  readonly assumptions: readonly Assumption[];
  readonly family: InsertionResult["family"];
  readonly parameters: InsertionResult["parameters"];
  readonly sizeBytes: number;
  /** The model, or undefined for a checkpoint. */
  readonly model: Model | undefined;
  readonly plan: CheckpointInsertionPlan | undefined;
  readonly reading: ReadingOptions;
}

async function modelJob(
  file: Extract<ModelFile, { kind: "onnx" }>,
  options: InsertFileOptions,
): Promise<Job> {
  const { calibration, runtime } = options;
  let plan = await planInsertion(file.model, phase("planning", options));
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
      before: numbersIn(constantsOf(file.model)),
      after: numbersIn(constantsOf(model)),
    },
    sizeBytes: bytesIn(constantsOf(model)),
    model,
    plan: undefined,
    reading: file.reading,
  };
}

function checkpointJob(
  file: Extract<ModelFile, { kind: "checkpoint" }>,
  options: InsertFileOptions,
): Job {
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
    sizeBytes: bytesIn(named),
    model: undefined,
    plan,
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

async function write(
  file: ModelFile,
  job: Job,
  outPath: string,
  options: InsertFileOptions,
): Promise<Pick<InsertionResult, "output" | "verification" | "published">> {
  const force = options.force ?? false;
  const sinks: FileSink[] = [];
  const open = async (path: string): Promise<FileSink> => {
    const sink = await createFileSink(path, { force });
    sinks.push(sink);
    return sink;
  };
  try {
    const large = job.model !== undefined && job.sizeBytes > MAX_INLINE_BYTES;
    const data = large ? await open(`${outPath}.data`) : undefined;
    const sink = await open(outPath);
    const task = phase("writing", options);
    if (job.model) {
      const external = data && { location: `${basename(outPath)}.data`, sink: data };
      await writeModel(job.model, sink, { ...task, ...(external ? { external } : {}) });
    } else if (targetFormat(outPath) === "safetensors") {
      await writeSafetensors(job.plan!.tensors, sink, task);
    } else {
      await writePytorch(job.plan!.tensors, sink, { ...task, crc32 });
    }
    const source = await sink.reopen();
    const dataSource = await data?.reopen();
    const sizeBytes = source.byteLength + (dataSource?.byteLength ?? 0);
    const external: ExternalFiles | undefined = dataSource && { open: async () => dataSource };
    const inserted = await openModelFile(source, {
      ...job.reading,
      ...(external ? { external } : {}),
    });
    const verification = job.settings.fresh
      ? undefined
      : await verifyInserted(inserted, originalOf(file, job), options);
    throwIfAborted(options.signal);
    const published = verification?.verdict.word !== "DIFFERENT";
    for (const one of sinks) await (published ? one.close() : one.abort());
    return { output: { path: outPath, sizeBytes }, verification, published };
  } catch (error) {
    for (const sink of sinks) await sink.abort();
    throw error;
  }
}

/** The input as what the inserted file has to fuse to: a checkpoint's batch norms folded, in float64. */
function originalOf(file: ModelFile, { plan, reading }: Job): ModelFile {
  if (file.kind === "onnx" || !plan?.original) return file;
  return { ...file, state: plan.original, reading };
}

/** Weights first, which prove it; then the whole networks, as far as they can be run. */
async function verifyInserted(
  inserted: ModelFile,
  original: ModelFile,
  options: InsertFileOptions,
): Promise<Verification> {
  const { runtime, inputShape } = options;
  const task = phase("checking", options);
  const weights = await verify(inserted, original, task);
  const run = options.check !== "weights" && weights.verdict.word !== "DIFFERENT";
  if (!run || !runtime || inserted.kind !== "onnx") return weights;
  try {
    return await verify(inserted, original, { ...task, runtime, inputShape, replicas: REPLICAS });
  } catch (error) {
    // An operator that cannot be run in float64, or an input that cannot be made up, takes nothing from the proof.
    if (!isReparamError(error, "refused") && !isReparamError(error, "usage")) throw error;
    return { ...weights, wholeSkipped: `${error.where}: ${error.what}` };
  }
}

function nothingFits(path: string, leftAlone: readonly LeftAlone[]): ReparamError {
  const reasons = leftAlone.slice(0, 3).map(({ name, reason }) => `${name}: ${reason}`);
  const more = leftAlone.length > 3 ? `; and ${leftAlone.length - 3} more` : "";
  return new ReparamError("refused", {
    where: path,
    what:
      leftAlone.length === 0
        ? "no convolution with more than one tap fits the pattern, so no block can be put in"
        : `no convolution can become a block (${reasons.join("; ")}${more})`,
    fix: "reparam inspect lists the names that --match looks at",
  });
}

/** Initializers, and the tensors of `Constant` nodes. */
function constantsOf({ graph }: Model): LazyTensor[] {
  const values = graph.nodes.flatMap((node) => {
    const value = node.opType === "Constant" ? node.attributes.get("value") : undefined;
    return value?.type === "tensor" ? [value.value] : [];
  });
  return [...graph.initializers.values(), ...values];
}

function numbersIn(tensors: Iterable<LazyTensor>): number {
  let total = 0;
  for (const { dtype, shape } of tensors) if (/float/.test(dtype)) total += elementCount(shape);
  return total;
}

function bytesIn(tensors: Iterable<LazyTensor>): number {
  let total = 0;
  for (const tensor of tensors) total += byteLength(tensor);
  return total;
}

function phase<T extends TaskOptions>(name: string, options: T): T {
  const { onProgress } = options;
  if (!onProgress) return options;
  return {
    ...options,
    onProgress: (progress) => onProgress({ ...progress, label: `${name} ${progress.label}` }),
  };
}

async function assertOtherFile(input: string, output: string): Promise<void> {
  const resolved = (path: string): Promise<string | undefined> =>
    realpath(path).catch(() => undefined);
  const [from, to] = [await resolved(input), await resolved(output)];
  if (from === undefined || from !== to) return;
  throw new ReparamError("usage", {
    where: output,
    what: "the output is the input file itself",
    fix: "Choose another name: the plain net is what the blocks are checked against",
  });
}
