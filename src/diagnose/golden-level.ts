/**
 * @file Why an output recorded elsewhere is not what the training form gives: train() mode, channel order,
 * normalization, value range, layout, softmax, half precision. Each is tried, and named when it matches.
 */

import { decodeFloat64, float16ToNumber, numberToFloat16 } from "../core/dtype.ts";
import { isReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { formatShape, type Shape, type Tensor, tensor } from "../core/tensor.ts";
import { graphInputs, type Model } from "../ir/graph.ts";
import { createReference } from "../runtime/reference.ts";
import type { Runtime } from "../runtime/session.ts";
import { outputMetrics } from "../verify/metrics.ts";
import type { CauseId } from "./causes.ts";
import { finding } from "./file-level.ts";
import type { Finding } from "./finding.ts";
import { inTrainMode } from "./train-mode.ts";

export interface Golden {
  readonly input: Tensor;
  readonly expected: Tensor;
}

/**
 * A variant matches when it is as near as float32 runs of one net are to each other: within this many times the
 * training form's own distance to its float64 run. Other machines sum in other orders; wrong variants are off by 10⁻².
 */
const NOISE_FACTOR = 100;
/** The noise floor is at least one rounding. */
const LEAST_NOISE = 2 ** -24;
/** Float16 arithmetic: eleven bits, and a network's worth of roundings. */
const HALF_DISTANCE = 0.05;

const IMAGENET_MEAN = [0.485, 0.456, 0.406] as const;
const IMAGENET_DEVIATION = [0.229, 0.224, 0.225] as const;

interface Attempt {
  readonly cause: CauseId;
  readonly detail: string;
  readonly model: Model;
  readonly input: Tensor;
  readonly output: (values: Float64Array, shape: Shape) => Float64Array;
}

export async function goldenFindings(
  training: Model,
  deploy: Model | undefined,
  golden: Golden,
  runtime: Runtime,
  options: TaskOptions,
): Promise<Finding[]> {
  const channels = channelsOf(training);
  const swappedLayout = isChannelsLast(golden.input, channels);
  const input = toFloat32(swappedLayout ? channelsFirst(golden.input) : golden.input);
  const expected = decodeFloat64(golden.expected.bytes, golden.expected.dtype);
  const run = (attempt: Pick<Attempt, "model" | "input">): Promise<Outcome[]> =>
    runModel(attempt.model, attempt.input, runtime, options);
  const plain = await run({ model: training, input });
  const at = plain.findIndex(({ shape }) => sameShape(shape, golden.expected.shape));
  if (at < 0) {
    const shapes = plain.map(({ shape }) => formatShape(shape)).join(", ");
    return [
      unexplained(
        `its shape is ${formatShape(golden.expected.shape)}, the outputs are ${shapes}`,
        {},
      ),
    ];
  }
  const floor = Math.max(
    LEAST_NOISE,
    await noiseFloor(training, input, at, plain[at]!.data, runtime, options),
  );
  const distance = outputMetrics(expected, plain[at]!.data).relativeL2;
  const limit = NOISE_FACTOR * floor;
  const layout = swappedLayout
    ? [
        finding("golden-layout", `input ${formatShape(golden.input.shape)}`, [plain[at]!.name], {
          shape: [...golden.input.shape],
        }),
      ]
    : [];
  if (distance <= limit) return layout;
  for (const attempt of attempts(training, deploy, input)) {
    const outcome = await run(attempt).catch((error: unknown) => {
      if (isReparamError(error, "refused")) return undefined;
      throw error;
    });
    const values = outcome?.[at];
    if (!values || !sameShape(values.shape, golden.expected.shape)) continue;
    const after = outputMetrics(expected, attempt.output(values.data, values.shape)).relativeL2;
    if (!(after <= limit)) continue;
    const evidence = { relativeL2Before: distance, relativeL2After: after, noiseFloor: floor };
    return [...layout, finding(attempt.cause, attempt.detail, [values.name], evidence)];
  }
  if (
    distance <= HALF_DISTANCE &&
    expected.every((value) => float16ToNumber(numberToFloat16(value)) === value)
  ) {
    return [
      ...layout,
      finding(
        "golden-float16",
        "every number is a float16",
        [plain[at]!.name],
        { relativeL2: distance, noiseFloor: floor },
        "consistent",
      ),
    ];
  }
  return [
    ...layout,
    unexplained("none of the usual reasons brings it near", {
      relativeL2: distance,
      noiseFloor: floor,
    }),
  ];
}

function unexplained(detail: string, evidence: Record<string, number>): Finding {
  return finding("golden-unexplained", detail, [], evidence, "consistent");
}

function* attempts(training: Model, deploy: Model | undefined, input: Tensor): Generator<Attempt> {
  const same = (values: Float64Array): Float64Array => values;
  const plain = { model: training, input, output: same };
  const trainMode = inTrainMode(training);
  if (trainMode) {
    yield {
      ...plain,
      cause: "golden-train-mode",
      detail: "batch statistics reproduce it",
      model: trainMode,
    };
  }
  const changed = (change: (value: number, channel: number) => number): Tensor =>
    mapChannels(input, change);
  const images = input.shape.length === 4 && input.shape[1] === 3;
  if (images) {
    yield {
      ...plain,
      cause: "golden-channel-order",
      detail: "with the input's channels reversed it matches",
      input: reversedChannels(input),
    };
    yield {
      ...plain,
      cause: "golden-normalization-missing",
      detail: "with the input normalized by ImageNet's mean and deviation it matches",
      input: changed((value, c) => (value - IMAGENET_MEAN[c]!) / IMAGENET_DEVIATION[c]!),
    };
    yield {
      ...plain,
      cause: "golden-normalization-doubled",
      detail: "with ImageNet's normalization undone it matches",
      input: changed((value, c) => value * IMAGENET_DEVIATION[c]! + IMAGENET_MEAN[c]!),
    };
  }
  yield {
    ...plain,
    cause: "golden-value-range",
    detail: "with the input divided by 255 it matches",
    input: changed((value) => value / 255),
  };
  yield {
    ...plain,
    cause: "golden-value-range",
    detail: "with the input times 255 it matches",
    input: changed((value) => value * 255),
  };
  yield {
    ...plain,
    cause: "golden-softmax",
    detail: "it is the softmax of the model's output",
    output: softmax,
  };
  yield {
    ...plain,
    cause: "golden-softmax",
    detail: "it is the logarithm of the model's softmax",
    output: logarithm,
  };
  if (deploy)
    yield {
      ...plain,
      cause: "golden-deploy-only",
      detail: "the deploy form gives it, the training form does not",
      model: deploy,
    };
  if (!images) return;
  yield {
    ...plain,
    cause: "golden-channel-order",
    detail: "with the channels reversed and the input normalized it matches",
    input: mapChannels(
      reversedChannels(input),
      (value, c) => (value - IMAGENET_MEAN[c]!) / IMAGENET_DEVIATION[c]!,
    ),
  };
}

interface Outcome {
  readonly name: string;
  readonly shape: Shape;
  readonly data: Float64Array;
}

async function runModel(
  model: Model,
  input: Tensor,
  runtime: Runtime,
  options: TaskOptions,
): Promise<Outcome[]> {
  const session = await runtime.createSession(model);
  try {
    const name = graphInputs(model.graph)[0]?.name ?? "";
    const results = await session.run(new Map([[name, input]]), options);
    return model.graph.outputs.map((output) => {
      const { shape, bytes, dtype } = results.get(output.name)!;
      return { name: output.name, shape, data: decodeFloat64(bytes, dtype) };
    });
  } finally {
    await session.release();
  }
}

/** ‖T32 − T64‖ / ‖T64‖ on this input. */
async function noiseFloor(
  model: Model,
  input: Tensor,
  at: number,
  single: Float64Array,
  runtime: Runtime,
  options: TaskOptions,
): Promise<number> {
  const name = graphInputs(model.graph)[0]?.name ?? "";
  const reference = await createReference(model, runtime, new Map([[name, input.shape]]));
  try {
    const truth = await reference.run(new Map([[name, input]]), undefined, options);
    return outputMetrics(truth.get(model.graph.outputs[at]!.name)!.data, single).relativeL2;
  } finally {
    await reference.release();
  }
}

function channelsOf(model: Model): number | undefined {
  const channels = graphInputs(model.graph)[0]?.shape?.[1];
  return typeof channels === "number" ? channels : undefined;
}

function isChannelsLast({ shape }: Tensor, channels: number | undefined): boolean {
  return (
    channels !== undefined && shape.length === 4 && shape[1] !== channels && shape[3] === channels
  );
}

function channelsFirst(input: Tensor): Tensor {
  const [n = 0, h = 0, w = 0, c = 0] = input.shape;
  const values = decodeFloat64(input.bytes, input.dtype);
  const plane = h * w;
  const out = Float32Array.from({ length: values.length }, (_, i) => {
    const image = Math.floor(i / (c * plane));
    const inside = i % (c * plane);
    return values[image * c * plane + (inside % plane) * c + Math.floor(inside / plane)]!;
  });
  return tensor("float32", [n, c, h, w], out);
}

function toFloat32(input: Tensor): Tensor {
  if (input.dtype === "float32") return input;
  return tensor("float32", input.shape, Float32Array.from(decodeFloat64(input.bytes, input.dtype)));
}

function mapChannels(input: Tensor, change: (value: number, channel: number) => number): Tensor {
  const { values, channels, plane } = planes(input);
  const made = values.map((value, i) => change(value, Math.floor(i / plane) % channels));
  return tensor("float32", input.shape, Float32Array.from(made));
}

function reversedChannels(input: Tensor): Tensor {
  const { values, channels, plane } = planes(input);
  const made = values.map((_, i) => {
    const channel = Math.floor(i / plane) % channels;
    return values[i + (channels - 1 - 2 * channel) * plane]!;
  });
  return tensor("float32", input.shape, Float32Array.from(made));
}

/** The numbers of an input of shape [batch, channels, …]; `plane` of them per channel. */
function planes({ shape, bytes, dtype }: Tensor): {
  readonly values: Float64Array;
  readonly channels: number;
  readonly plane: number;
} {
  const [, channels = 1, ...spatial] = shape;
  const plane = spatial.reduce((a, b) => a * b, 1);
  return { values: decodeFloat64(bytes, dtype), channels, plane };
}

/** Along axis 1. */
function softmax(values: Float64Array, shape: Shape): Float64Array {
  return overClasses(values, shape, (exponentials, sum) => exponentials / sum);
}

function logarithm(values: Float64Array, shape: Shape): Float64Array {
  return softmax(values, shape).map(Math.log);
}

function overClasses(
  values: Float64Array,
  shape: Shape,
  combine: (exponential: number, sum: number) => number,
): Float64Array {
  const [, classes = 1] = shape;
  const plane = shape.slice(2).reduce((a, b) => a * b, 1);
  const result = new Float64Array(values.length);
  const size = classes * plane;
  for (let begin = 0; begin < values.length; begin += size) {
    for (let p = begin; p < begin + plane; p++) {
      let [most, sum] = [Number.NEGATIVE_INFINITY, 0];
      for (let i = p; i < begin + size; i += plane) most = Math.max(most, values[i]!);
      for (let i = p; i < begin + size; i += plane) sum += Math.exp(values[i]! - most);
      for (let i = p; i < begin + size; i += plane)
        result[i] = combine(Math.exp(values[i]! - most), sum);
    }
  }
  return result;
}

function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}
