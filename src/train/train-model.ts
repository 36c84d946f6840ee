/** @file The training loop. */

import { bytesOf } from "../core/dtype.ts";
import { badData, ReparamError, throwIfAborted } from "../core/errors.ts";
import type { StateDict } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import { defaultNormalization, type Normalization } from "./augment.ts";
import { type Batch, batches } from "./batches.ts";
import { type RunProgress, readCheckpoint, writeCheckpoint } from "./checkpoint.ts";
import type { Dataset } from "./dataset.ts";
import { evaluateModel } from "./evaluate.ts";
import { assertOptimizer, type OptimizerOptions } from "./optimizers.ts";
import type { ParameterLayout } from "./parameters.ts";
import { assertSchedule, learningRateAt } from "./schedule.ts";
import { createStepper, type Stepper } from "./stepper.ts";
import {
  assertCounts,
  type EpochRecord,
  fingerprintOf,
  lossOf,
  type StepRecord,
  type TrainOptions,
  type TrainRecord,
} from "./train-options.ts";
import { stateDictOf, type Vectors, withFlat } from "./trained-state.ts";

export type { EpochRecord, StepRecord, TrainOptions, TrainRecord } from "./train-options.ts";

export interface TrainResult {
  /** Training form, by the model's weight names; loads into PyTorch where those are PyTorch's. */
  readonly state: StateDict;
  /** The model with the trained weights. */
  readonly model: Model;
  /** The moving average, if one was kept. */
  readonly ema?: { readonly state: StateDict; readonly model: Model };
  readonly history: readonly TrainRecord[];
  /** Samples that could not be decoded, each once. */
  readonly skipped: readonly string[];
}

/**
 * Trains a model.
 *
 * @throws `usage` (options that do not fit), `refused` (operator without a gradient rule; a loss that is not finite),
 * `bad-data` (a label out of range, a broken checkpoint), `aborted`. The last checkpoint stays.
 */
export async function trainModel(options: TrainOptions): Promise<TrainResult> {
  const run = await prepare(options);
  const { stepper, skipped } = run;
  try {
    const history: TrainRecord[] = [];
    let { progress } = run;
    for (let epoch = progress.epoch; epoch < options.epochs; epoch++) {
      progress = await runEpoch(options, run, { ...progress, epoch }, history);
    }
    const { layout } = stepper.graph;
    const vectors = stepper.vectors();
    const trained = modelOf(options.model, layout, vectors, "");
    const result = {
      state: stateDictOf(trained, progress.batches),
      model: trained,
      history,
      skipped: [...skipped],
    };
    if (options.emaDecay === undefined) return result;
    const average = modelOf(options.model, layout, vectors, "ema_");
    return { ...result, ema: { state: stateDictOf(average, progress.batches), model: average } };
  } finally {
    await stepper.release();
  }
}

interface Run {
  readonly stepper: Stepper;
  readonly batch: number;
  readonly accumulationSteps: number;
  readonly normalization: Normalization;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
  readonly fingerprint: string;
  readonly progress: RunProgress;
  readonly skipped: Set<string>;
  readonly now: () => number;
  readonly startMs: number;
}

async function prepare(options: TrainOptions): Promise<Run> {
  const { dataset, epochs, batch = 128, accumulationSteps = 1 } = options;
  const optimizer: OptimizerOptions = options.optimizer ?? { type: "sgd" };
  assertCounts(options, batch, accumulationSteps);
  assertSchedule(options.schedule, epochs);
  assertOptimizer(optimizer);
  const loss = lossOf(options);
  const stepper = await createStepper({
    ...options,
    batch,
    accumulationSteps,
    optimizer,
    loss,
    sampleShape: dataset.shape,
    ema: options.emaDecay !== undefined,
  });
  const classes = stepper.graph.outputShape[1] ?? 0;
  const stepsPerEpoch = Math.floor(Math.floor(dataset.size / batch) / accumulationSteps);
  const fingerprint = fingerprintOf(options, optimizer, stepper, batch, accumulationSteps);
  let progress: RunProgress = { epoch: 0, position: 0, step: 0, batches: 0 };
  try {
    if (classes !== dataset.classCount) {
      throw new ReparamError("usage", {
        where: dataset.name,
        what: `it has ${dataset.classCount} classes, the model's output has ${classes}`,
        fix: "Create the model with as many classes as the data set has",
      });
    }
    if (options.resume) {
      const saved = await readCheckpoint(options.resume, stepper.vectorSizes, fingerprint);
      stepper.restore(saved.vectors);
      progress = saved.progress;
    }
  } catch (error) {
    await stepper.release();
    throw error;
  }
  const now = options.now ?? (() => performance.now());
  return {
    stepper,
    batch,
    accumulationSteps,
    normalization: options.normalization ?? defaultNormalization(dataset.shape[0] ?? 0),
    stepsPerEpoch,
    totalSteps: stepsPerEpoch * epochs,
    fingerprint,
    progress,
    skipped: new Set(),
    now,
    startMs: now(),
  };
}

async function runEpoch(
  options: TrainOptions,
  run: Run,
  from: RunProgress,
  history: TrainRecord[],
): Promise<RunProgress> {
  const { dataset, seed = 0, augment = {}, validation, signal, onProgress } = options;
  const { stepper, batch, accumulationSteps, skipped, stepsPerEpoch, totalSteps } = run;
  const source = batches({
    dataset,
    batch,
    normalization: run.normalization,
    training: { seed, epoch: from.epoch, augment, position: from.position },
    onSkipped: (name) => skipped.add(name),
  });
  let progress = from;
  let [epochLoss, epochAccuracy, steps] = [0, 0, 0];
  for await (const group of groupsOf(source, accumulationSteps)) {
    throwIfAborted(signal);
    const learningRate = learningRateAt(options.schedule, progress.step, stepsPerEpoch, totalSteps);
    const rates = { learningRate, step: progress.step + 1, emaDecay: options.emaDecay ?? 0 };
    let [loss, correct, gradientNorm] = [0, 0, 0];
    for (const { images, labels } of group) {
      const target = { dtype: "int64", shape: [batch], bytes: bytesOf(labels) } as const;
      const metrics = await stepper.run(images, target, rates, { signal });
      loss += metrics.loss / accumulationSteps;
      correct += metrics.correct;
      gradientNorm = metrics.gradientNorm ?? 0;
    }
    progress = {
      epoch: from.epoch,
      position: group.at(-1)!.position,
      step: progress.step + 1,
      batches: progress.batches + accumulationSteps,
    };
    const samples = batch * accumulationSteps;
    const record: StepRecord = {
      type: "step",
      epoch: from.epoch + 1,
      step: progress.step,
      totalSteps,
      loss,
      accuracy: correct / samples,
      gradientNorm,
      learningRate,
      samples,
      elapsedMs: run.now() - run.startMs,
    };
    history.push(record);
    epochLoss += loss;
    epochAccuracy += record.accuracy;
    steps++;
    options.onStep?.(record);
    onProgress?.({ label: `epoch ${from.epoch + 1}`, done: progress.step, total: totalSteps });
    if (options.checkpoint?.everySteps && progress.step % options.checkpoint.everySteps === 0) {
      await save(options, run, progress);
    }
  }
  if (steps === 0 && from.position === 0) throw nothingDecoded(dataset, batch, [...skipped]);
  progress = { ...progress, epoch: from.epoch + 1, position: 0 };
  if (options.checkpoint) await save(options, run, progress);
  const measured = validation && (await validate(options, run, validation));
  const record: EpochRecord = {
    type: "epoch",
    epoch: from.epoch + 1,
    loss: epochLoss / Math.max(steps, 1),
    accuracy: epochAccuracy / Math.max(steps, 1),
    ...(measured === undefined ? {} : { validationAccuracy: measured }),
    elapsedMs: run.now() - run.startMs,
  };
  history.push(record);
  options.onEpoch?.(record);
  return progress;
}

function nothingDecoded(dataset: Dataset, batch: number, skipped: readonly string[]): Error {
  const shown = skipped.slice(0, 3).join(", ");
  return badData(
    dataset.name,
    `not one step of batches of ${batch} could be made: ${skipped.length} of ${dataset.size} samples cannot be decoded (${shown}${skipped.length > 3 ? ", …" : ""})`,
    "Look at the files, or choose a smaller batch",
  );
}

/** Groups of `size` batches; the next is loaded while one is trained on; an incomplete last one is dropped. */
async function* groupsOf(source: AsyncGenerator<Batch>, size: number): AsyncGenerator<Batch[]> {
  const load = async (): Promise<Batch[] | undefined> => {
    const group: Batch[] = [];
    while (group.length < size) {
      const { value, done } = await source.next();
      if (done) return undefined;
      group.push(value);
    }
    return group;
  };
  let next = load();
  for (;;) {
    const group = await next;
    if (!group) return;
    next = load();
    // Awaited above on the next turn; until then a failure must not count as unhandled.
    next.catch(() => {});
    yield group;
  }
}

async function save(options: TrainOptions, run: Run, progress: RunProgress): Promise<void> {
  const sink = await options.checkpoint!.open();
  await writeCheckpoint(sink, run.stepper.vectors(), progress, run.fingerprint);
}

async function validate(options: TrainOptions, run: Run, validation: Dataset): Promise<number> {
  const { runtime, threads, signal, model } = options;
  const which = options.emaDecay === undefined ? "" : "ema_";
  const { accuracy } = await evaluateModel({
    model: modelOf(model, run.stepper.graph.layout, run.stepper.vectors(), which),
    dataset: validation,
    runtime,
    batch: run.batch,
    normalization: run.normalization,
    signal,
    ...(threads === undefined ? {} : { threads }),
  });
  return accuracy;
}

function modelOf(
  model: Model,
  layout: ParameterLayout,
  vectors: Vectors,
  prefix: "" | "ema_",
): Model {
  const empty = new Float32Array(0);
  return withFlat(model, [
    [layout.parameters, vectors.get(`${prefix}parameters`) ?? empty],
    [layout.statistics, vectors.get(`${prefix}statistics`) ?? empty],
  ]);
}
