/**
 * @file Runs step graphs and holds the state between steps. A step's results replace the state only when they are
 * numbers: after a NaN the state of the last good step is still here.
 */

import { bytesOf, float32View } from "../core/dtype.ts";
import { internalError, ReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Runtime, Session } from "../runtime/session.ts";
import { findChannelBlock } from "./convolution.ts";
import { drawMask } from "./dropout.ts";
import type { OptimizerOptions } from "./optimizers.ts";
import {
  buildStepGraph,
  type STEP_SCALARS,
  type StepGraph,
  type StepGraphOptions,
  TARGET_INPUT,
} from "./step-graph.ts";
import { gatherFlat, scalarTensor, type Vectors, vectorTensor } from "./trained-state.ts";

export interface StepMetrics {
  readonly loss: number;
  /** Samples classified right. */
  readonly correct: number;
  /** Undefined for a batch whose gradient was only added up. */
  readonly gradientNorm: number | undefined;
}

export interface StepRates {
  readonly learningRate: number;
  /** 1-based count of optimizer steps, for AdamW's bias correction. */
  readonly step: number;
  readonly emaDecay: number;
}

export interface Stepper {
  readonly graph: StepGraph;
  /** Lengths of the vectors a checkpoint holds. */
  readonly vectorSizes: ReadonlyMap<string, number>;
  vectors(): Vectors;
  restore(vectors: Vectors): void;
  /** One batch; the last of `accumulationSteps` batches updates the weights. Throws `refused` for a loss that is not finite. */
  run(
    images: Float32Array,
    target: Tensor,
    rates: StepRates,
    task: TaskOptions,
  ): Promise<StepMetrics>;
  release(): Promise<void>;
}

export interface StepperOptions extends Omit<StepGraphOptions, "accumulation" | "channelBlock"> {
  readonly runtime: Runtime;
  readonly threads?: number;
  /** Dropout's masks follow from it. Default 0. */
  readonly seed?: number;
  /** A gradient norm above this stops the run. Default 1e6. */
  readonly maxGradientNorm?: number;
}

export async function createStepper(options: StepperOptions): Promise<Stepper> {
  const { runtime, threads, accumulationSteps = 1, maxGradientNorm = 1e6, seed = 0 } = options;
  const channelBlock = await findChannelBlock(runtime);
  const build = (accumulation: "none" | "add" | "finish"): Promise<StepGraph> =>
    buildStepGraph({ ...options, accumulation, channelBlock });
  const open = (graph: StepGraph): Promise<Session> =>
    runtime.createSession(graph.model, {
      optimization: "all",
      ...(threads === undefined ? {} : { threads }),
    });
  const graph = await build(accumulationSteps > 1 ? "finish" : "none");
  const update = await open(graph);
  const addUp = accumulationSteps > 1 ? await open(await build("add")) : undefined;
  let vectors = await initialVectors(options, graph);
  let added = 0;

  const feeds = (
    session: Session,
    images: Float32Array,
    target: Tensor,
    rates: StepRates,
  ): Map<string, Tensor> => {
    const scalars = scalarsOf(options.optimizer, rates);
    const inputs = new Map<string, Tensor>();
    for (const [i, mask] of graph.dropouts.entries()) {
      const values = drawMask(mask, seed, (rates.step - 1) * accumulationSteps + added, i);
      inputs.set(mask.input, { dtype: "float32", shape: mask.shape, bytes: bytesOf(values) });
    }
    for (const name of session.inputNames) {
      if (inputs.has(name)) continue;
      const vector = vectors.get(name);
      const scalar = scalars.get(name);
      if (name === graph.input) {
        inputs.set(name, { dtype: "float32", shape: graph.inputShape, bytes: bytesOf(images) });
      } else if (name === TARGET_INPUT) inputs.set(name, target);
      else if (vector) inputs.set(name, vectorTensor(vector));
      else if (scalar !== undefined) inputs.set(name, scalarTensor(scalar));
      else throw internalError("training step", `nothing to feed input ${name}`);
    }
    return inputs;
  };

  return {
    graph,
    vectorSizes: graph.state,
    vectors: () => vectors,
    restore: (restored) => {
      vectors = new Map(restored);
      added = 0;
    },
    run: async (images, target, rates, task) => {
      const finishes = added === accumulationSteps - 1;
      const session = finishes || !addUp ? update : addUp;
      const outputs = await session.run(feeds(session, images, target, rates), task);
      const number = (name: string): number => float32View(outputs.get(name)!.bytes)[0]!;
      const gradientNorm = outputs.has("gradient_norm") ? number("gradient_norm") : undefined;
      assertFinite(rates.step, number("loss"), gradientNorm, maxGradientNorm);
      const next = new Map(vectors);
      for (const name of vectors.keys()) {
        const output = outputs.get(`${name}_next`);
        if (output) next.set(name, float32View(output.bytes));
      }
      added = finishes ? 0 : added + 1;
      if (finishes && addUp)
        next.set("gradient_sum", new Float32Array(graph.layout.parameterCount));
      vectors = next;
      return { loss: number("loss"), correct: number("correct"), gradientNorm };
    },
    release: async () => {
      await update.release();
      await addUp?.release();
    },
  };
}

async function initialVectors(
  options: StepperOptions,
  graph: StepGraph,
): Promise<Map<string, Float32Array>> {
  const parameters = await gatherFlat(options.model, graph.layout.parameters);
  const statistics = await gatherFlat(options.model, graph.layout.statistics);
  const vectors = new Map<string, Float32Array>();
  for (const [name, size] of graph.state) {
    if (name.endsWith("parameters")) vectors.set(name, parameters);
    else if (name.endsWith("statistics")) vectors.set(name, statistics);
    else vectors.set(name, new Float32Array(size));
  }
  return vectors;
}

function scalarsOf(optimizer: OptimizerOptions, rates: StepRates): Map<string, number> {
  const { beta1 = 0.9, beta2 = 0.999 } = optimizer.type === "adamw" ? optimizer : {};
  const values: Record<(typeof STEP_SCALARS)[number], number> = {
    learning_rate: rates.learningRate,
    correction1: 1 - beta1 ** rates.step,
    correction2: Math.sqrt(1 - beta2 ** rates.step),
    ema_decay: rates.emaDecay,
  };
  return new Map(Object.entries(values));
}

function assertFinite(
  step: number,
  loss: number,
  gradientNorm: number | undefined,
  maxGradientNorm: number,
): void {
  const stop = (what: string): never => {
    throw new ReparamError("refused", {
      where: `training step ${step}`,
      what,
      fix: "Lower the learning rate, lengthen the warm-up or clip the gradient; the last checkpoint is still good",
    });
  };
  if (!Number.isFinite(loss)) stop(`the loss is ${loss}`);
  if (gradientNorm === undefined) return;
  if (!Number.isFinite(gradientNorm)) stop(`the gradient's norm is ${gradientNorm}`);
  if (gradientNorm > maxGradientNorm) {
    stop(
      `the gradient's norm is ${gradientNorm.toExponential(2)}, expected at most ${maxGradientNorm}`,
    );
  }
}
