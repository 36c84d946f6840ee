/** @file What a training run is asked for and what it tells: options, their checks, the records of steps and epochs. */

import type { ByteSink } from "../core/byte-sink.ts";
import type { ByteSource } from "../core/byte-source.ts";
import { ReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { elementCount, formatShape } from "../core/tensor.ts";
import { graphInputs, type Model } from "../ir/graph.ts";
import type { Runtime } from "../runtime/session.ts";
import type { AugmentOptions, Normalization } from "./augment.ts";
import type { Dataset } from "./dataset.ts";
import type { OptimizerOptions } from "./optimizers.ts";
import type { LayoutOptions } from "./parameters.ts";
import type { ScheduleOptions } from "./schedule.ts";
import type { LossOptions } from "./step-graph.ts";
import type { Stepper } from "./stepper.ts";

/** Float32 numbers of one batch of samples: 2 GiB, which one input of onnxruntime can hold. */
const MAX_BATCH_NUMBERS = 2 ** 29;

export interface TrainOptions extends LayoutOptions, TaskOptions {
  /** Training form, float32, opset 13 or later, one input. */
  readonly model: Model;
  readonly dataset: Dataset;
  readonly runtime: Runtime;
  readonly epochs: number;
  readonly schedule: ScheduleOptions;
  /** Samples per batch. Default 128. */
  readonly batch?: number;
  /** Batches whose gradients are averaged per optimizer step. Default 1. */
  readonly accumulationSteps?: number;
  /** Default SGD with Nesterov momentum 0.9 and weight decay 1e-4. */
  readonly optimizer?: OptimizerOptions;
  /** `mse` is the mean squared distance of the scores to the label's one-hot vector. Default cross-entropy. */
  readonly loss?: "cross-entropy" | "mse";
  /** Of the cross-entropy, 0 up to below 1. Default 0. */
  readonly labelSmoothing?: number;
  readonly augment?: AugmentOptions;
  /** Default: ImageNet's for three channels, else mean ½ and deviation ½. */
  readonly normalization?: Normalization;
  /** Order and augmentation follow from it. Default 0. */
  readonly seed?: number;
  /** Keep a moving average of weights and statistics with this decay, e.g. 0.999. */
  readonly emaDecay?: number;
  /** Clip the gradient to this 2-norm. */
  readonly clipNorm?: number;
  /** Learning rate of biases relative to the rest (SGD). RepVGG's first script used 2. */
  readonly biasRateFactor?: number;
  /** RepVGG's L2 on equivalent kernels, with this factor, in place of their weight decay. */
  readonly customL2?: number;
  /** Share of a new batch in running statistics. Default 0.1. */
  readonly statisticsMomentum?: number;
  /** Evaluated after every epoch. */
  readonly validation?: Dataset;
  readonly threads?: number;
  /** Where to keep the run: `open` is called for every checkpoint and must replace atomically. */
  readonly checkpoint?: {
    open(): Promise<ByteSink>;
    /** Optimizer steps between checkpoints inside an epoch; one per epoch is always written. */
    readonly everySteps?: number;
  };
  /** A checkpoint of the same run to go on from. */
  readonly resume?: ByteSource;
  readonly onStep?: (record: StepRecord) => void;
  readonly onEpoch?: (record: EpochRecord) => void;
  /** Milliseconds from any origin; for `elapsedMs`. Default: `performance.now`. */
  readonly now?: () => number;
}

/** One optimizer step. Everything but `elapsedMs` is the same in every run with the same options. */
export interface StepRecord {
  readonly type: "step";
  readonly epoch: number;
  /** Counted from 1 over the whole run. */
  readonly step: number;
  readonly totalSteps: number;
  /** Means over the step's batches. */
  readonly loss: number;
  readonly accuracy: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
  readonly samples: number;
  readonly elapsedMs: number;
}

export interface EpochRecord {
  readonly type: "epoch";
  readonly epoch: number;
  /** Mean over the epoch's steps (of this run, if it was resumed inside the epoch). */
  readonly loss: number;
  readonly accuracy: number;
  readonly validationAccuracy?: number;
  readonly elapsedMs: number;
}

export type TrainRecord = StepRecord | EpochRecord;

/** Throws `usage` for smoothing of a loss that has none. */
export function lossOf({ loss = "cross-entropy", labelSmoothing = 0 }: TrainOptions): LossOptions {
  if (loss === "cross-entropy") return { type: loss, smoothing: labelSmoothing };
  if (labelSmoothing === 0) return { type: loss, labels: true };
  throw new ReparamError("usage", {
    where: "labelSmoothing",
    what: `is ${labelSmoothing} with the loss ${loss}, expected the loss cross-entropy`,
  });
}

/** Throws `usage` for numbers that make no sense, and for fewer samples than one step takes. */
export function assertCounts(
  options: TrainOptions,
  batch: number,
  accumulationSteps: number,
): void {
  const counts = { epochs: options.epochs, batch, accumulationSteps };
  for (const [name, value] of Object.entries(counts)) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new ReparamError("usage", {
      where: name,
      what: `is ${value}, expected a positive integer`,
    });
  }
  const { dataset, labelSmoothing = 0, emaDecay = 0 } = options;
  for (const [name, value] of Object.entries({ labelSmoothing, emaDecay })) {
    if (value >= 0 && value < 1) continue;
    throw new ReparamError("usage", { where: name, what: `is ${value}, expected 0 up to below 1` });
  }
  assertSamplesFit(options);
  if (dataset.classCount < 2) {
    throw new ReparamError("usage", {
      where: dataset.name,
      what: "it has one class, expected at least two: there is nothing to tell apart",
      fix: "Sort the samples into classes, of image folders one folder each",
    });
  }
  const numbers = batch * elementCount(dataset.shape);
  if (numbers > MAX_BATCH_NUMBERS) {
    throw new ReparamError("usage", {
      where: dataset.name,
      what: `${batch} samples of ${formatShape(dataset.shape)} have ${numbers} numbers, expected at most ${MAX_BATCH_NUMBERS} in a batch`,
      fix: "Choose a smaller batch or smaller images",
    });
  }
  assertNormalization(options);
  const { cropPadding = 0 } = options.augment ?? {};
  const side = Math.min(...dataset.shape.slice(1));
  if (cropPadding >= side && cropPadding > 0) {
    throw new ReparamError("usage", {
      where: "cropPadding",
      what: `is ${cropPadding}, expected less than the ${side} pixels of a sample's side: crops would miss the image`,
    });
  }
  if (dataset.size < batch * accumulationSteps) {
    throw new ReparamError("usage", {
      where: dataset.name,
      what: `it has ${dataset.size} samples, expected at least the ${batch * accumulationSteps} of one step`,
      fix: "Choose a smaller batch",
    });
  }
}

/** The model's input, as far as it declares its sizes, takes the data set's samples. */
function assertSamplesFit({ model, dataset }: TrainOptions): void {
  const [input] = graphInputs(model.graph);
  const declared = input?.shape?.slice(1);
  if (!declared) return;
  const { shape } = dataset;
  const fits =
    declared.length === shape.length &&
    declared.every((dim, axis) => typeof dim !== "number" || dim === shape[axis]);
  if (fits) return;
  throw new ReparamError("usage", {
    where: dataset.name,
    what: `its samples are ${formatShape(shape)}, the model takes ${formatShape(declared)} (channels, height, width)`,
    fix: "Choose other data, its image size, or another model",
  });
}

function assertNormalization({ normalization, dataset }: TrainOptions): void {
  const [channels = 0] = dataset.shape;
  if (!normalization) return;
  for (const name of ["mean", "std"] as const) {
    const list = normalization[name];
    if (list.length !== channels) {
      throw new ReparamError("usage", {
        where: `normalization ${name}`,
        what: `has ${list.length} numbers, expected one for each of the ${channels} channels`,
      });
    }
    const wrong = list.find((value) => !Number.isFinite(value) || (name === "std" && value <= 0));
    if (wrong !== undefined) {
      throw new ReparamError("usage", {
        where: `normalization ${name}`,
        what: `holds ${wrong}, expected ${name === "std" ? "numbers above 0" : "finite numbers"}`,
      });
    }
  }
}

/** What must be the same for a resumed run to continue as if it had never stopped. */
export function fingerprintOf(
  options: TrainOptions,
  optimizer: OptimizerOptions,
  stepper: Stepper,
  batch: number,
  accumulationSteps: number,
): string {
  const { dataset, epochs, schedule, seed = 0, augment = {} } = options;
  return JSON.stringify({
    weights: stepper.graph.layout.parameters.map(({ name, shape }) => `${name} ${shape.join("x")}`),
    samples: dataset.size,
    epochs,
    batch,
    accumulationSteps,
    optimizer,
    schedule,
    seed,
    augment,
    normalization: options.normalization ?? null,
    loss: options.loss ?? "cross-entropy",
    labelSmoothing: options.labelSmoothing ?? 0,
    emaDecay: options.emaDecay ?? null,
    clipNorm: options.clipNorm ?? 0,
    biasRateFactor: options.biasRateFactor ?? 1,
    customL2: options.customL2 ?? null,
    statisticsMomentum: options.statisticsMomentum ?? 0.1,
  });
}
