/** @file How a recorded output may have been made otherwise: the model, the input or what was done to the output. */

import { decodeFloat64 } from "../core/dtype.ts";
import { type Shape, type Tensor, tensor } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import type { GoldenCauseId } from "./golden-causes.ts";
import { inTrainMode } from "./train-mode.ts";

/** ImageNet's, as torchvision and nearly everybody normalizes. */
const MEAN = [0.485, 0.456, 0.406] as const;
const DEVIATION = [0.229, 0.224, 0.225] as const;
/** Largest value of a byte: images are 0 … 255 or 0 … 1. */
const BYTE = 255;

export interface Attempt {
  readonly cause: GoldenCauseId;
  readonly detail: string;
  readonly model: Model;
  readonly input: Tensor;
  readonly output: (values: Float64Array, shape: Shape) => Float64Array;
}

/** Simplest first. */
export function goldenAttempts(
  training: Model,
  deploy: Model | undefined,
  input: Tensor,
): Attempt[] {
  const plain = { model: training, input, output: (values: Float64Array) => values };
  const changed = (change: (value: number, channel: number) => number, from = input): Tensor =>
    mapChannels(from, change);
  const normalized = (value: number, c: number): number => (value - MEAN[c]!) / DEVIATION[c]!;
  const attempts: Attempt[] = [];
  const attempt = (cause: GoldenCauseId, detail: string, other: Partial<Attempt>): void => {
    attempts.push({ ...plain, cause, detail, ...other });
  };
  const trainMode = inTrainMode(training);
  if (trainMode) {
    attempt("golden-train-mode", "batch statistics reproduce it", { model: trainMode });
  }
  const images = input.shape.length === 4 && input.shape[1] === 3;
  if (images) {
    attempt("golden-channel-order", "with the input's channels reversed it matches", {
      input: reversedChannels(input),
    });
    attempt(
      "golden-normalization-missing",
      "with the input normalized by ImageNet's mean and deviation it matches",
      { input: changed(normalized) },
    );
    attempt("golden-normalization-doubled", "with ImageNet's normalization undone it matches", {
      input: changed((value, c) => value * DEVIATION[c]! + MEAN[c]!),
    });
  }
  attempt("golden-value-range", "with the input divided by 255 it matches", {
    input: changed((value) => value / BYTE),
  });
  attempt("golden-value-range", "with the input times 255 it matches", {
    input: changed((value) => value * BYTE),
  });
  attempt("golden-softmax", "it is the softmax of the model's output", { output: softmax });
  attempt("golden-softmax", "it is the logarithm of the model's softmax", {
    output: (values, shape) => softmax(values, shape).map(Math.log),
  });
  if (deploy) {
    attempt("golden-deploy-only", "the deploy form gives it, the training form does not", {
      model: deploy,
    });
  }
  if (images) {
    attempt(
      "golden-channel-order",
      "with the channels reversed and the input normalized it matches",
      { input: changed(normalized, reversedChannels(input)) },
    );
  }
  return attempts;
}

export function isChannelsLast({ shape }: Tensor, channels: number | undefined): boolean {
  return (
    channels !== undefined && shape.length === 4 && shape[1] !== channels && shape[3] === channels
  );
}

export function channelsFirst(input: Tensor): Tensor {
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
  const [, classes = 1] = shape;
  const plane = shape.slice(2).reduce((a, b) => a * b, 1);
  const result = new Float64Array(values.length);
  const size = classes * plane;
  for (let begin = 0; begin < values.length; begin += size) {
    for (let p = begin; p < begin + plane; p++) {
      let [most, sum] = [Number.NEGATIVE_INFINITY, 0];
      for (let i = p; i < begin + size; i += plane) most = Math.max(most, values[i]!);
      for (let i = p; i < begin + size; i += plane) sum += Math.exp(values[i]! - most);
      for (let i = p; i < begin + size; i += plane) result[i] = Math.exp(values[i]! - most) / sum;
    }
  }
  return result;
}
