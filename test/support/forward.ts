/**
 * @file A training-form block written down as what it computes: float64 loops that make up their own random weights,
 * named as asked, the first time they are used. So one formula gives the checkpoint and the truth.
 */

import { createRng, type Rng } from "../../src/core/rng.ts";
import {
  float32Tensor,
  type LazyTensor,
  lazyTensor,
  type StateDict,
} from "../../src/core/tensor.ts";

/** One image, `[channels, height, width]`. */
export interface Image {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly data: Float64Array;
}

export interface ConvOptions {
  readonly out: number;
  /** Kernel height and width, or one number for both. Default 3. */
  readonly kernel?: number | readonly [number, number];
  readonly groups?: number;
  readonly bias?: boolean;
  readonly dilation?: number;
  /** Default: dilation · (k − 1) / 2. */
  readonly padding?: number;
}

export interface Weights {
  readonly state: StateDict;
  /** A tensor by name, made on first use; float32 values in float64. */
  tensor(key: string, shape: readonly number[], low?: number, high?: number): Float64Array;
  /** A convolution module: `<key>.weight` and, if asked, `<key>.bias`. */
  conv(x: Image, key: string, options: ConvOptions): Image;
  /** A BatchNorm module with random statistics and γ of both signs. */
  bn(x: Image, key: string, names?: { mean: string; variance: string }): Image;
}

export function createWeights(seed: number, prefix: string, epsilon: number): Weights {
  const rng = createRng(seed);
  const tensors = new Map<string, LazyTensor>();
  const values = new Map<string, Float64Array>();
  const full = (key: string) => (prefix === "" ? key : `${prefix}.${key}`);
  const tensor: Weights["tensor"] = (key, shape, low = -1, high = 1) => {
    const known = values.get(key);
    if (known) return known;
    const count = shape.reduce((a, b) => a * b, 1);
    const made = float32Tensor(shape, draw(rng, count, low, high));
    tensors.set(full(key), lazyTensor(made));
    const floats = new Float32Array(made.bytes.buffer, made.bytes.byteOffset, count);
    const wide = Float64Array.from(floats);
    values.set(key, wide);
    return wide;
  };
  return {
    state: { tensors, modules: new Map() },
    tensor,
    conv: (x, key, options) => {
      const { out, kernel = 3, groups = 1, bias = false } = options;
      const [kH, kW] = typeof kernel === "number" ? [kernel, kernel] : kernel;
      const weight = tensor(`${key}.weight`, [out, x.channels / groups, kH, kW]);
      return convolve(x, weight, bias ? tensor(`${key}.bias`, [out]) : undefined, options);
    },
    bn: (x, key, names = { mean: "running_mean", variance: "running_var" }) => {
      const c = x.channels;
      const gamma = tensor(`${key}.weight`, [c]);
      const beta = tensor(`${key}.bias`, [c]);
      const mean = tensor(`${key}.${names.mean}`, [c]);
      const variance = tensor(`${key}.${names.variance}`, [c], 0.2, 3);
      return mapChannels(x, (v, o) => {
        return ((v - mean[o]!) / Math.sqrt(variance[o]! + epsilon)) * gamma[o]! + beta[o]!;
      });
    },
  };
}

function* draw(rng: Rng, count: number, low: number, high: number): Generator<number> {
  for (let i = 0; i < count; i++) yield rng.uniform(low, high);
}

export function randomImage(seed: number, channels: number, height: number, width: number): Image {
  const rng = createRng(seed);
  const data = Float64Array.from({ length: channels * height * width }, () => rng.uniform(-1, 1));
  return { channels, height, width, data };
}

/** Stride 1, zero padding. `weight` is `[out, channels/groups, kH, kW]`. */
export function convolve(
  x: Image,
  weight: Float64Array,
  bias: Float64Array | undefined,
  options: ConvOptions,
): Image {
  const { out, kernel = 3, groups = 1, dilation = 1 } = options;
  const [kH, kW] = typeof kernel === "number" ? [kernel, kernel] : kernel;
  const padH = options.padding ?? (dilation * (kH - 1)) / 2;
  const padW = options.padding ?? (dilation * (kW - 1)) / 2;
  const height = x.height + 2 * padH - dilation * (kH - 1);
  const width = x.width + 2 * padW - dilation * (kW - 1);
  const inC = x.channels / groups;
  const data = new Float64Array(out * height * width);
  for (let o = 0; o < out; o++) {
    const first = Math.floor(o / (out / groups)) * inC;
    for (let h = 0; h < height; h++) {
      for (let w = 0; w < width; w++) {
        let total = bias?.[o] ?? 0;
        for (let i = 0; i < inC; i++) {
          for (let p = 0; p < kH; p++) {
            for (let q = 0; q < kW; q++) {
              const y = h - padH + dilation * p;
              const z = w - padW + dilation * q;
              if (y < 0 || z < 0 || y >= x.height || z >= x.width) continue;
              const value = x.data[((first + i) * x.height + y) * x.width + z]!;
              total += value * weight[((o * inC + i) * kH + p) * kW + q]!;
            }
          }
        }
        data[(o * height + h) * width + w] = total;
      }
    }
  }
  return { channels: out, height, width, data };
}

export function mapChannels(x: Image, map: (value: number, channel: number) => number): Image {
  const plane = x.height * x.width;
  return { ...x, data: x.data.map((value, i) => map(value, Math.floor(i / plane))) };
}

export function add(...images: readonly Image[]): Image {
  const [first, ...rest] = images;
  if (!first) throw new Error("add: nothing to add");
  const data = first.data.slice();
  for (const image of rest) for (let i = 0; i < data.length; i++) data[i]! += image.data[i]!;
  return { ...first, data };
}

export function concat(...images: readonly Image[]): Image {
  const data = new Float64Array(images.reduce((sum, image) => sum + image.data.length, 0));
  let at = 0;
  for (const image of images) {
    data.set(image.data, at);
    at += image.data.length;
  }
  return { ...images[0]!, channels: images.reduce((sum, image) => sum + image.channels, 0), data };
}

/** Padded on every side with one number per channel. */
export function padWith(x: Image, size: number, value: (channel: number) => number): Image {
  const height = x.height + 2 * size;
  const width = x.width + 2 * size;
  const data = new Float64Array(x.channels * height * width);
  for (let c = 0; c < x.channels; c++) {
    for (let h = 0; h < height; h++) {
      for (let w = 0; w < width; w++) {
        const inside = h >= size && w >= size && h < x.height + size && w < x.width + size;
        data[(c * height + h) * width + w] = inside
          ? x.data[(c * x.height + h - size) * x.width + w - size]!
          : value(c);
      }
    }
  }
  return { channels: x.channels, height, width, data };
}
