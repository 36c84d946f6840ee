/**
 * @file Training from files to a file: data folder and net in, training form out; at the end the deploy form is made,
 * verified, and both forms are tried on the validation images.
 */

import { existsSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { planConversion } from "../convert/conversion.ts";
import type { ModelFile } from "../convert/open.ts";
import { ReparamError } from "../core/errors.ts";
import { formatShape, type LazyTensor, type StateDict } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import type { ConversionResult, TrainingResult } from "../report/result.ts";
import type { Runtime } from "../runtime/session.ts";
import type { Dataset } from "../train/dataset.ts";
import { evaluateModel } from "../train/evaluate.ts";
import { type TrainOptions, type TrainRecord, trainModel } from "../train/train-model.ts";
import { verify } from "../verify/verify.ts";
import type { RepVggArch } from "../zoo/nets/index.ts";
import { assertDistinct, assertWritable } from "./assert-writable.ts";
import { convertFile } from "./convert-file.ts";
import type { ImageFolderOptions } from "./data/image-folder.ts";
import { type DatasetSplits, openDataset } from "./data/open-dataset.ts";
import { createFileSink } from "./file-sink.ts";
import { openFile } from "./file-source.ts";
import { loadNodeRuntime } from "./ort-node.ts";
import { publishModel } from "./publish-model.ts";
import { targetFormat } from "./target-format.ts";
import { openTrainingLog } from "./training-log.ts";
import {
  assertCheckpointKeys,
  isCheckpointKey,
  openTrainingNet,
  type TrainingSource,
} from "./training-net.ts";
import { contentOf, modelOf, writeContent } from "./write-content.ts";

export interface TrainFileOptions
  extends Omit<
      TrainOptions,
      "model" | "dataset" | "validation" | "runtime" | "checkpoint" | "resume"
    >,
    ImageFolderOptions {
  /** A net of the data set's channels and classes, or a file. */
  readonly net:
    | ((facts: DataFacts) => RepVggArch)
    | { readonly file: string; readonly key?: string };
  readonly dataFolder: string;
  /** Where the training form goes; its ending chooses the format. */
  readonly outPath: string;
  /** Where the deploy form goes, if anywhere. */
  readonly deployPath?: string;
  /** Where the run is kept until it is done. Default: `<outPath>.run`. */
  readonly runPath?: string;
  readonly checkpointEverySteps?: number;
  /** Go on from `runPath` if it exists. Default false. */
  readonly resumeRun?: boolean;
  /** JSON lines of every step and epoch. */
  readonly logPath?: string;
  /** Overwrite outputs. Default false. */
  readonly force?: boolean;
}

export interface DataFacts {
  readonly channels: number;
  readonly classes: number;
}

/** @throws usage, not-found, cannot-write, and what `trainModel` throws */
export async function trainFile(options: TrainFileOptions): Promise<TrainingResult> {
  const { outPath, deployPath, runPath = `${outPath}.run`, force = false } = options;
  const target = targetFormat(outPath);
  if (deployPath !== undefined) targetFormat(deployPath);
  await assertDistinct([
    { name: "the training form", path: outPath },
    { name: "the deploy form", path: deployPath },
    { name: "the run", path: runPath },
    { name: "the log", path: options.logPath },
  ]);
  for (const path of [outPath, deployPath]) if (!force) assertFree(path);
  const resumes = options.resumeRun === true && existsSync(runPath);
  if (!resumes && !force) assertFree(runPath);
  // The run is opened by the first checkpoint, the others when the training is done.
  for (const path of [outPath, deployPath]) await assertWritable(path, { force });
  await assertWritable(runPath, { force: true });
  const data = await openDataset(options.dataFolder, options);
  assertImageSize(options, data);
  const net = await openTrainingNet(sourceOf(options, data), sizeOf(data));
  if (target !== "onnx" && net.isGraph) {
    assertCheckpointKeys(net.model, outPath);
    assertNoDeploy(outPath, deployPath);
  }
  const runtime = await loadNodeRuntime();
  const log = openTrainingLog(options.logPath, resumes);
  const resume = resumes ? await openFile(runPath) : undefined;
  try {
    const tell = <R extends TrainRecord>(record: R, listener?: (record: R) => void): void => {
      log.write(record);
      listener?.(record);
    };
    const result = await trainModel({
      ...options,
      model: net.model,
      dataset: data.training,
      runtime,
      checkpoint: {
        open: () => createFileSink(runPath, { force: true }),
        ...(options.checkpointEverySteps === undefined
          ? {}
          : { everySteps: options.checkpointEverySteps }),
      },
      onStep: (record) => tell(record, options.onStep),
      onEpoch: (record) => tell(record, options.onEpoch),
      ...(resume ? { resume } : {}),
      ...(data.validation ? { validation: data.validation } : {}),
    });
    const { model, state } = result.ema ?? result;
    const { tensors } = withUntrained(net.checkpoint, state);
    const named = [...tensors].filter(([name]) => !net.isGraph || isCheckpointKey(name));
    const content = contentOf(target, named, () => model);
    const { output } = await publishModel(
      outPath,
      { model: modelOf(content), write: (sink, data) => writeContent(content, sink, data) },
      { force },
    );
    const checked = await checkForms(options, net.name, model, data, runtime);
    const deploy =
      deployPath === undefined ? undefined : await convertFile(outPath, deployPath, { force });
    await rm(runPath, { force: true });
    return {
      net: net.name,
      data: { kind: data.kind, path: options.dataFolder, samples: data.training.size },
      output,
      deploy: deploy && deployFacts(deploy),
      epochs: options.epochs,
      history: result.history,
      skipped: result.skipped,
      ...checked,
    };
  } finally {
    await resume?.close();
    log.close();
  }
}

function sourceOf(
  { net, seed = 0 }: TrainFileOptions,
  { training }: DatasetSplits,
): TrainingSource {
  if (typeof net !== "function") return net;
  const facts = { channels: training.shape[0] ?? 0, classes: training.classCount };
  return { arch: net(facts), seed };
}

function sizeOf({ training }: DatasetSplits): { height: number; width: number } {
  const [, height = 0, width = 0] = training.shape;
  return { height, width };
}

/** Only images of folders are scaled. */
function assertImageSize({ imageSize }: TrainFileOptions, { kind, training }: DatasetSplits): void {
  if (imageSize === undefined || kind === "folders") return;
  throw new ReparamError("usage", {
    where: "imageSize",
    what: `is ${imageSize}, and ${training.name} holds samples of ${formatShape(training.shape)}, which are taken as they are`,
    fix: "Leave it out",
  });
}

/** The trained tensors in the checkpoint's order, with those that are no part of the trained graph as they were. */
function withUntrained(checkpoint: ReadonlyMap<string, LazyTensor>, state: StateDict): StateDict {
  const tensors = new Map(checkpoint);
  for (const [name, value] of state.tensors) tensors.set(name, value);
  return { ...state, tensors };
}

/** The deploy form is made from the file that was written, and without the graph only known families can be fused. */
function assertNoDeploy(outPath: string, deployPath: string | undefined): void {
  if (deployPath === undefined) return;
  throw new ReparamError("usage", {
    where: deployPath,
    what: `the deploy form of an ONNX model is made from its graph, and ${outPath} holds weights only`,
    fix: "Give an output that ends in .onnx",
  });
}

function assertFree(path: string | undefined): void {
  if (path === undefined || !isFile(path)) return;
  throw new ReparamError("cannot-write", {
    where: path,
    what: "it exists already",
    fix: path.endsWith(".run")
      ? "Pass --resume to go on with that run, or --force to start a new one"
      : "Pass --force to overwrite it",
  });
}

/** Anything else of that name cannot be overwritten either, and is named for what it is. */
function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** Accuracy of both forms on the validation split (the training split where there is none), and the verdict. */
async function checkForms(
  options: TrainFileOptions,
  name: string,
  model: Model,
  data: DatasetSplits,
  runtime: Runtime,
): Promise<Pick<TrainingResult, "accuracy" | "verification">> {
  const { signal, threads, normalization } = options;
  const training: ModelFile = { kind: "onnx", name, model, reading: {} };
  const converted = await planConversion(training, "onnx", { signal });
  const deploy: ModelFile = {
    kind: "onnx",
    name: `${name} (deploy)`,
    model: converted.model!,
    reading: {},
  };
  const dataset: Dataset = data.validation ?? data.training;
  const accuracyOf = async (form: Model): Promise<{ correct: number; predictions: Int32Array }> =>
    await evaluateModel({
      model: form,
      dataset,
      runtime,
      signal,
      ...(threads === undefined ? {} : { threads }),
      ...(normalization === undefined ? {} : { normalization }),
    });
  const [before, after] = [await accuracyOf(model), await accuracyOf(converted.model!)];
  const count = before.predictions.length;
  return {
    accuracy: {
      split: data.validation ? "validation" : "training",
      count,
      training: before.correct,
      deploy: after.correct,
      sameClass: before.predictions.reduce((n, p, i) => n + Number(p === after.predictions[i]), 0),
    },
    verification: await verify(training, deploy, { signal, runtime: async () => runtime }),
  };
}

function deployFacts(result: ConversionResult): NonNullable<TrainingResult["deploy"]> {
  return { ...result.output, verdict: result.verification?.verdict.word };
}
