/**
 * @file One ONNX graph for a training step: forward, loss, backward, optimizer, running statistics, moving average.
 * State goes in as flat vectors and comes out as flat vectors, so a step changes nothing that was there before.
 */

import type { FloatDType } from "../core/dtype.ts";
import { ReparamError } from "../core/errors.ts";
import type { Shape } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import { BLOCKED_DOMAIN } from "./convolution.ts";
import { customL2Penalty } from "./custom-l2.ts";
import { activeValues, differentiate } from "./differentiate.ts";
import type { DropoutMask } from "./dropout.ts";
import { createEmitter, type Emitter, TRAINING_OPSET } from "./emitter.ts";
import { assertDifferentiable, type BatchStatistics, emitForward, neededNodes } from "./forward.ts";
import {
  addPenalty,
  crossEntropy,
  type LossOutput,
  meanSquaredError,
  oneHotSquaredError,
} from "./losses.ts";
import { emitUpdate, type OptimizerOptions, optimizerState } from "./optimizers.ts";
import {
  decays,
  type FlatEntry,
  type LayoutOptions,
  type ParameterLayout,
  parameterLayout,
} from "./parameters.ts";
import { inferStaticShapes } from "./static-shapes.ts";
import {
  add,
  concat,
  div,
  expand,
  mul,
  reduceSum,
  reshape,
  scale,
  sub,
  unary,
} from "./vocabulary.ts";

export type LossOptions =
  | {
      readonly type: "cross-entropy";
      /** Label smoothing. Default 0. */
      readonly smoothing?: number;
    }
  | {
      readonly type: "mse";
      /** The targets are class labels, compared as one-hot vectors; else they have the output's shape. Default false. */
      readonly labels?: boolean;
    };

/** What a step does with the gradient: use it, add it to the sum so far, or use the sum. */
export type Accumulation = "none" | "add" | "finish";

export interface StepGraphOptions extends LayoutOptions {
  readonly model: Model;
  /** Samples per step, `[batch, ...]` of the model's input. */
  readonly batch: number;
  /** Input shape without the batch, where the model leaves it open. */
  readonly sampleShape?: Shape;
  readonly loss: LossOptions;
  readonly optimizer: OptimizerOptions;
  /** Share of the new batch in running statistics (PyTorch's `momentum`). Default 0.1. */
  readonly statisticsMomentum?: number;
  /** Keep a moving average of weights and statistics. Default false. */
  readonly ema?: boolean;
  /** Scale gradients down to this 2-norm; 0 (default) leaves them. */
  readonly clipNorm?: number;
  /** Learning rate of biases relative to the rest. Default 1. */
  readonly biasRateFactor?: number;
  /** RepVGG's L2 penalty on the equivalent kernel, with this factor, in place of weight decay on those kernels. */
  readonly customL2?: number;
  readonly accumulation?: Accumulation;
  /** Steps whose gradients are averaged; needed with `finish`. Default 1. */
  readonly accumulationSteps?: number;
  /** float64 is for checking the rules. Default float32. */
  readonly dtype?: FloatDType;
  /** Also give the flat gradient as output `gradient`. Default false. */
  readonly exposeGradient?: boolean;
  /** What `findChannelBlock` found for the runtime the graph is for. Default: ordinary convolutions only. */
  readonly channelBlock?: number | undefined;
  /** The model output to train; the first by default. */
  readonly output?: string;
}

export interface StepGraph {
  readonly model: Model;
  readonly layout: ParameterLayout;
  /** Name of the graph input that takes the samples, and its shape. */
  readonly input: string;
  readonly inputShape: Shape;
  readonly outputShape: Shape;
  /** State vectors by name with their lengths: `parameters`, `statistics`, the optimizer's, `ema_…`, `gradient_sum`. */
  readonly state: ReadonlyMap<string, number>;
  /** Masks to draw for every batch. */
  readonly dropouts: readonly DropoutMask[];
}

/** Inputs beside the samples and the state. */
export const STEP_SCALARS = ["learning_rate", "correction1", "correction2", "ema_decay"] as const;
/** Before 13 Softmax meant something else, and reductions were spelled differently. */
const OLDEST_OPSET = 13;
/** Graph input of the labels (int64 `[batch]`) or, for a regression, of the targets. */
export const TARGET_INPUT = "target";

/** Builds the step. Throws `refused` for operators without a gradient rule, `usage` and `bad-data` for what cannot fit. */
export async function buildStepGraph(options: StepGraphOptions): Promise<StepGraph> {
  const { model, dtype = "float32", accumulation = "none" } = options;
  const output = options.output ?? model.graph.outputs[0]?.name ?? "";
  // What the output does not depend on, such as auxiliary heads, stays as it is: not even its decay applies.
  const reached = { ...model.graph, nodes: neededNodes(model, output) };
  const layout = parameterLayout({ ...model, graph: reached }, options);
  const trained = new Set(layout.parameters.map((entry) => entry.name));
  assertDifferentiable(model, output, trained);
  const { input, shapes } = await inferStaticShapes(model, options.batch, options.sampleShape);
  const e = createEmitter({
    dtype,
    name: "training-step",
    channelBlock: options.channelBlock,
    ...trainingOpsets(model),
  });

  const inputShape = shapes.get(input)!;
  const samples = e.input(input, dtype, inputShape);
  const state = stateVectors(options, layout);
  const before = new Map([...state].map(([name, size]) => [name, e.input(name, dtype, [size])]));
  const scalars = usedScalars(options).map((name) => [name, e.input(name, dtype, [])] as const);
  const scalar = (name: string): string => new Map(scalars).get(name as never) ?? e.scalar(1);

  const bound = new Map([[input, samples]]);
  for (const [name, value] of splitFlat(e, before.get("parameters")!, layout.parameters)) {
    bound.set(name, value);
  }
  const forward = await emitForward(e, { model, shapes, bound, trained, output });
  const prediction = forward.value(output);
  let loss = emitLoss(e, options.loss, prediction);
  const seeds = new Map([[prediction, loss.gradient]]);
  const targets = layout.parameters.map((entry) => bound.get(entry.name)!);
  assertReached(forward.tape, targets, prediction);
  const gradients = differentiate(e, {
    tape: forward.tape,
    seeds,
    targets,
    constants: forward.constants,
  });
  if (options.customL2 !== undefined) {
    const statistics = splitFlat(e, before.get("statistics")!, layout.statistics);
    const penalty = customL2Penalty(e, model, bound, statistics, options.customL2);
    loss = addPenalty(e, loss, penalty.value);
    for (const [name, extra] of penalty.gradients) {
      const value = bound.get(name)!;
      gradients.set(value, add(e, gradients.get(value)!, extra));
    }
  }
  let gradient = concat(
    e,
    layout.parameters.map(({ name, size }) => {
      const value = gradients.get(bound.get(name)!);
      return value === undefined ? expand(e, e.scalar(0), [size]) : reshape(e, value, [size]);
    }),
    0,
  );

  const result = (name: string, value: string): void => {
    e.output(e.node("Identity", [value], e.shape(value), {}, { name }), dtype);
  };
  result("loss", loss.loss);
  result("correct", loss.correct);
  if (options.exposeGradient) result("gradient", gradient);
  const gradientSum = before.get("gradient_sum");
  if (gradientSum !== undefined) gradient = add(e, gradientSum, gradient);
  const statistics = nextStatistics(
    e,
    options,
    layout,
    before.get("statistics"),
    forward.statistics,
  );
  if (statistics !== undefined) result("statistics_next", statistics);
  if (accumulation === "add") {
    result("gradient_sum_next", gradient);
    return finish();
  }
  gradient = scale(e, gradient, 1 / (options.accumulationSteps ?? 1));
  const norm = unary(e, "Sqrt", reduceSum(e, mul(e, gradient, gradient), [0], false));
  result("gradient_norm", norm);
  if (options.clipNorm) gradient = mul(e, gradient, clipFactor(e, norm, options.clipNorm));
  const update = emitUpdate(e, options.optimizer, {
    parameters: before.get("parameters")!,
    gradient: applyRates(e, options, layout, gradient),
    state: before,
    learningRate: scalar("learning_rate"),
    correction1: scalar("correction1"),
    correction2: scalar("correction2"),
    decayMask: decayMask(e, options, layout),
  });
  result("parameters_next", update.parameters);
  for (const [name, value] of update.state) result(`${name}_next`, value);
  if (options.ema) {
    const follow = (name: string, to: string | undefined): void => {
      const from = before.get(name);
      if (from === undefined || to === undefined) return;
      // ema += (1 − decay)·(new − ema)
      const share = sub(e, e.scalar(1), scalar("ema_decay"));
      result(`${name}_next`, add(e, from, mul(e, sub(e, to, from), share)));
    };
    follow("ema_parameters", update.parameters);
    follow("ema_statistics", statistics);
  }
  return finish();

  function finish(): StepGraph {
    return {
      model: withoutUnused(e.builder.build()),
      layout,
      input,
      inputShape,
      outputShape: e.shape(prediction),
      state,
      dropouts: forward.dropouts,
    };
  }
}

/** Without nodes and constants no output depends on; onnxruntime would run them. */
function withoutUnused(model: Model): Model {
  const nodes = neededNodes(model, ...model.graph.outputs.map((info) => info.name));
  const used = new Set(nodes.flatMap((node) => node.inputs));
  const initializers = new Map([...model.graph.initializers].filter(([name]) => used.has(name)));
  return { ...model, graph: { ...model.graph, nodes, initializers } };
}

function emitLoss(e: Emitter, options: LossOptions, prediction: string): LossOutput {
  const shape = e.shape(prediction);
  if (options.type === "mse" && options.labels !== true) {
    return meanSquaredError(e, prediction, e.input(TARGET_INPUT, e.dtype, shape));
  }
  if (shape.length !== 2) {
    throw new ReparamError("refused", {
      where: "training",
      what: `the trained output has shape [${shape.join(", ")}], expected [batch, classes] for class labels`,
      fix: "Choose another output",
    });
  }
  const labels = e.input(TARGET_INPUT, "int64", [shape[0]!]);
  if (options.type === "mse") return oneHotSquaredError(e, prediction, labels);
  return crossEntropy(e, prediction, labels, options.smoothing ?? 0);
}

function stateVectors(options: StepGraphOptions, layout: ParameterLayout): Map<string, number> {
  const { accumulation = "none" } = options;
  const state = new Map([["parameters", layout.parameterCount]]);
  if (layout.statisticCount > 0) state.set("statistics", layout.statisticCount);
  if (accumulation !== "none") state.set("gradient_sum", layout.parameterCount);
  if (accumulation === "add") return state;
  for (const name of optimizerState(options.optimizer)) state.set(name, layout.parameterCount);
  if (options.ema) {
    state.set("ema_parameters", layout.parameterCount);
    if (layout.statisticCount > 0) state.set("ema_statistics", layout.statisticCount);
  }
  return state;
}

function usedScalars(options: StepGraphOptions): (typeof STEP_SCALARS)[number][] {
  if (options.accumulation === "add") return [];
  return [
    "learning_rate",
    ...(options.optimizer.type === "adamw" ? (["correction1", "correction2"] as const) : []),
    ...(options.ema ? (["ema_decay"] as const) : []),
  ];
}

/** A flat vector's pieces in their own shapes, by name. */
function splitFlat(e: Emitter, flat: string, entries: readonly FlatEntry[]): Map<string, string> {
  const pieces =
    entries.length === 1
      ? [flat]
      : e.nodes(
          "Split",
          [flat, e.ints(entries.map((entry) => entry.size))],
          entries.map((entry) => [entry.size]),
          { axis: 0 },
        );
  return new Map(
    entries.map((entry, i) => [entry.name, reshape(e, pieces[i]!, entry.shape)] as const),
  );
}

/** running = (1 − m)·running + m·batch, with the unbiased variance n/(n − 1), as PyTorch does. */
function nextStatistics(
  e: Emitter,
  options: StepGraphOptions,
  layout: ParameterLayout,
  before: string | undefined,
  seen: readonly BatchStatistics[],
): string | undefined {
  if (before === undefined) return undefined;
  const { statisticsMomentum: momentum = 0.1 } = options;
  const found = new Map<string, { value: string; factor: number }>();
  for (const batch of seen) {
    const unbiased = batch.count > 1 ? batch.count / (batch.count - 1) : 1;
    found.set(batch.meanName, { value: batch.mean, factor: momentum });
    found.set(batch.varianceName, { value: batch.variance, factor: momentum * unbiased });
  }
  const kept = splitFlat(e, before, layout.statistics);
  const factors = new Float64Array(layout.statisticCount);
  const batch = layout.statistics.map(({ name, offset, size }) => {
    const { value, factor } = found.get(name) ?? { value: kept.get(name)!, factor: momentum };
    factors.fill(factor, offset, offset + size);
    return value;
  });
  const weighted = mul(e, concat(e, batch, 0), e.floats([layout.statisticCount], factors));
  return add(e, scale(e, before, 1 - momentum), weighted);
}

/** min(1, limit / norm), with PyTorch's 1e-6 against division by zero. */
function clipFactor(e: Emitter, norm: string, limit: number): string {
  const ratio = div(e, e.scalar(limit), add(e, norm, e.scalar(1e-6)));
  return e.node("Min", [ratio, e.scalar(1)], []);
}

/** Scaling a gradient and its weight's decay alike would be a learning rate; biases have no decay, so scaling is enough. */
function applyRates(
  e: Emitter,
  { biasRateFactor = 1, optimizer }: StepGraphOptions,
  layout: ParameterLayout,
  gradient: string,
): string {
  if (biasRateFactor === 1) return gradient;
  if (optimizer.type !== "sgd") {
    throw new ReparamError("usage", {
      where: "biasRateFactor",
      what: `is ${biasRateFactor} with ${optimizer.type}, expected sgd (Adam's step does not depend on the gradient's scale)`,
    });
  }
  const rates = perParameter(layout, ({ name }) => (name.endsWith("bias") ? biasRateFactor : 1));
  return mul(e, gradient, e.floats([layout.parameterCount], rates));
}

function decayMask(e: Emitter, options: StepGraphOptions, layout: ParameterLayout): string {
  const penalised = /\.rbr_(dense|1x1)\.conv\.weight$/;
  const mask = perParameter(layout, (entry) =>
    decays(entry) && !(options.customL2 !== undefined && penalised.test(entry.name)) ? 1 : 0,
  );
  return e.floats([layout.parameterCount], mask);
}

function perParameter(layout: ParameterLayout, value: (entry: FlatEntry) => number): Float64Array {
  const values = new Float64Array(layout.parameterCount);
  for (const entry of layout.parameters) {
    values.fill(value(entry), entry.offset, entry.offset + entry.size);
  }
  return values;
}

/** Opsets 13 to 17 mean the same for every operator with a rule; later ones are kept. */
function trainingOpsets(model: Model): { opset: number; domains: Map<string, number> } {
  const found = model.opsets.get("") ?? 0;
  if (found < OLDEST_OPSET) {
    throw new ReparamError("refused", {
      where: "training",
      what: `the model's opset is ${found}, expected at least ${OLDEST_OPSET}`,
      fix: "Export it with a newer opset",
    });
  }
  return {
    opset: Math.max(found, TRAINING_OPSET),
    domains: new Map(
      [...model.opsets, [BLOCKED_DOMAIN, 1] as const].filter(([domain]) => domain !== ""),
    ),
  };
}

/** A net whose trained output no trained weight reaches would train without effect. */
function assertReached(
  tape: Parameters<typeof activeValues>[0],
  targets: readonly string[],
  prediction: string,
): void {
  if (activeValues(tape, targets).has(prediction)) return;
  throw new ReparamError("usage", {
    where: "training",
    what: "the trained output does not depend on any trained weight",
  });
}
