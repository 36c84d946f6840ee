/**
 * @file Certificate C: both whole networks as functions, in float64, so that execution noise is gone and only the
 * conversion is left.
 *
 *     D32 − T32 = (D32 − D64) + (D64 − T64) + (T64 − T32)          e_F = D64 − T64
 *
 * Null hypothesis: the deploy net is the training net with every parameter and input moved by at most one rounding.
 * K replicas of the training net with such random moves give the noise; e_F is judged against the largest of them
 * (a rank test: false alarms with probability 1/(K + 1) if e_F is one more draw). Where certificate A has proved that
 * each weight took up to k roundings, the replicas' single rounding is scaled by that k. A rounding is one of float32,
 * or of the half precision in which both files store their blocks.
 */

import {
  decodeFloat64,
  encodeFloat64,
  type FloatDType,
  SMALLEST_SUBNORMAL,
  UNIT_ROUNDOFF,
} from "../core/dtype.ts";
import { ReparamError, throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { formatShape, type Shape, type Tensor } from "../core/tensor.ts";
import { graphInputs, type Model } from "../ir/graph.ts";
import { createReference } from "../runtime/reference.ts";
import type { Runtime } from "../runtime/session.ts";
import { type Decisions, decisions, type OutputMetrics, outputMetrics, rms } from "./metrics.ts";

export interface FunctionOptions extends TaskOptions {
  readonly runtime: Runtime;
  /** K. Default 19: a false alarm in one of 20 when only this certificate speaks. */
  readonly replicas?: number | undefined;
  /** Roundings per weight that certificate A proved; 1 without it. */
  readonly provedRoundings: number;
  /** The format that a parameter is rounded to. Default float32. */
  readonly roundingFormat?: FloatDType | undefined;
}

export interface OutputCertificate {
  readonly name: string;
  readonly shape: Shape;
  /** rms(D64 − T64): what the conversion changed. */
  readonly conversionError: number;
  /** Largest and median rms of the replicas: what one rounding of every parameter changes. */
  readonly noiseMax: number;
  readonly noiseMedian: number;
  /** conversionError / (noiseMax · provedRoundings); above 1 is a rejection. */
  readonly ratio: number;
  /** Deploy against training form, both run in float32. */
  readonly metrics: OutputMetrics;
  /** ‖T32 − T64‖ / ‖T64‖: how far the training form itself is from the truth. */
  readonly noiseFloor: number;
  /** ‖D32 − T64‖ / ‖T32 − T64‖ */
  readonly rho: number;
  readonly decisions: Decisions | undefined;
}

export interface FunctionCertificate {
  readonly passed: boolean;
  readonly replicas: number;
  readonly runtime: string;
  readonly inputs: readonly { readonly name: string; readonly shape: Shape }[];
  readonly outputs: readonly OutputCertificate[];
  /** Number of outputs that differ between the graphs, if they do. */
  readonly outputMismatch: string | undefined;
}

/** Runs both models on the same inputs (by the training model's input names; the deploy model's by position). */
export async function functionCertificate(
  training: Model,
  deploy: Model,
  inputs: ReadonlyMap<string, Tensor>,
  options: FunctionOptions,
): Promise<FunctionCertificate> {
  const { runtime, replicas = 19, provedRoundings, roundingFormat = "float32", signal } = options;
  const rounding = {
    unit: UNIT_ROUNDOFF[roundingFormat],
    floor: roundingFormat === "float32" ? 0 : SMALLEST_SUBNORMAL[roundingFormat] / 2,
  };
  const deployInputs = renamedInputs(training, deploy, inputs);
  const progress = (label: string, done: number): void =>
    options.onProgress?.({ label, done, total: replicas + 4 });
  progress("training form, float32", 0);
  const train32 = await runOnce(training, runtime, inputs, options);
  progress("deploy form, float32", 1);
  const deploy32 = await runOnce(deploy, runtime, deployInputs, options);
  progress("deploy form, float64", 2);
  const deploy64 = await referenceOutputs(deploy, runtime, deployInputs, options);
  const shapes = new Map([...inputs].map(([name, value]) => [name, value.shape]));
  const reference = await createReference(training, runtime, shapes);
  try {
    progress("training form, float64", 3);
    const train64 = outputsOf(training, await reference.run(inputs, undefined, options));
    const noise: number[][] = [];
    for (let seed = 1; seed <= replicas; seed++) {
      throwIfAborted(signal);
      progress(`replica ${seed} of ${replicas}`, 3 + seed);
      const moved = outputsOf(
        training,
        await reference.run(inputs, { seed, ...rounding }, options),
      );
      noise.push(moved.map((output, i) => rms(train64[i]!.data, output.data)));
    }
    const mismatch = whyOutputsDiffer(train64, deploy64);
    const outputs = mismatch
      ? []
      : train64.map((truth, i) => {
          const levels = noise.map((level) => level[i]!).sort((a, b) => a - b);
          return outputCertificate(
            truth,
            { train32: train32[i]!.data, deploy32: deploy32[i]!.data, deploy64: deploy64[i]!.data },
            levels,
            provedRoundings,
          );
        });
    return {
      passed: mismatch === undefined && outputs.every((output) => output.ratio <= 1),
      replicas,
      runtime: runtime.name,
      inputs: [...inputs].map(([name, value]) => ({ name, shape: value.shape })),
      outputs,
      outputMismatch: mismatch,
    };
  } finally {
    await reference.release();
  }
}

interface NamedOutput {
  readonly name: string;
  readonly shape: Shape;
  readonly data: Float64Array;
}

function outputCertificate(
  truth: NamedOutput,
  runs: { train32: Float64Array; deploy32: Float64Array; deploy64: Float64Array },
  noise: readonly number[],
  provedRoundings: number,
): OutputCertificate {
  const conversionError = rms(truth.data, runs.deploy64);
  const noiseMax = noise.at(-1) ?? 0;
  const floor = outputMetrics(truth.data, runs.train32);
  const deployFloor = outputMetrics(truth.data, runs.deploy32);
  return {
    name: truth.name,
    shape: truth.shape,
    conversionError,
    noiseMax,
    noiseMedian: noise[Math.floor(noise.length / 2)] ?? 0,
    ratio: conversionError === 0 ? 0 : conversionError / (noiseMax * Math.max(1, provedRoundings)),
    metrics: outputMetrics(runs.train32, runs.deploy32),
    noiseFloor: floor.relativeL2,
    rho:
      floor.l2 === 0
        ? deployFloor.l2 === 0
          ? 1
          : Number.POSITIVE_INFINITY
        : deployFloor.l2 / floor.l2,
    decisions: decisions(runs.train32, runs.deploy32, truth.shape),
  };
}

function whyOutputsDiffer(
  training: readonly NamedOutput[],
  deploy: readonly NamedOutput[],
): string | undefined {
  if (training.length !== deploy.length) {
    return `the training form has ${training.length} outputs, the deploy form ${deploy.length}`;
  }
  const at = training.findIndex(
    (output, i) => formatShape(output.shape) !== formatShape(deploy[i]!.shape),
  );
  return at < 0
    ? undefined
    : `output ${training[at]!.name} is ${formatShape(training[at]!.shape)} in the training form and ${formatShape(deploy[at]!.shape)} in the deploy form`;
}

function outputsOf(
  model: Model,
  values: ReadonlyMap<string, { shape: Shape; data: Float64Array }>,
): NamedOutput[] {
  return model.graph.outputs.map(({ name }) => ({ name, ...values.get(name)! }));
}

async function referenceOutputs(
  model: Model,
  runtime: Runtime,
  inputs: ReadonlyMap<string, Tensor>,
  options: TaskOptions,
): Promise<NamedOutput[]> {
  const shapes = new Map([...inputs].map(([name, value]) => [name, value.shape]));
  const reference = await createReference(model, runtime, shapes);
  try {
    return outputsOf(model, await reference.run(inputs, undefined, options));
  } finally {
    await reference.release();
  }
}

/** One run as the file is stored, optimizations off. */
async function runOnce(
  model: Model,
  runtime: Runtime,
  inputs: ReadonlyMap<string, Tensor>,
  options: TaskOptions,
): Promise<NamedOutput[]> {
  const session = await runtime.createSession(model);
  try {
    const results = await session.run(castInputs(model, inputs), options);
    return model.graph.outputs.map(({ name }) => {
      const { shape, bytes, dtype } = results.get(name)!;
      return { name, shape, data: decodeFloat64(bytes, dtype) };
    });
  } finally {
    await session.release();
  }
}

/** Float32 inputs in the type the model declares (half precision models). */
function castInputs(model: Model, inputs: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const declared = new Map(graphInputs(model.graph).map((input) => [input.name, input.dtype]));
  return new Map(
    [...inputs].map(([name, value]) => {
      const dtype = declared.get(name);
      if (dtype === value.dtype || (dtype !== "float16" && dtype !== "float64"))
        return [name, value];
      const bytes = encodeFloat64(decodeFloat64(value.bytes, value.dtype), dtype);
      return [name, { dtype, shape: value.shape, bytes }];
    }),
  );
}

function renamedInputs(
  training: Model,
  deploy: Model,
  inputs: ReadonlyMap<string, Tensor>,
): Map<string, Tensor> {
  const from = graphInputs(training.graph);
  const to = graphInputs(deploy.graph);
  if (from.length !== to.length) {
    throw new ReparamError("refused", {
      where: "verify",
      what: `the training form has ${from.length} inputs, the deploy form ${to.length}`,
    });
  }
  return new Map(from.map((input, i) => [to[i]!.name, inputs.get(input.name)!]));
}
