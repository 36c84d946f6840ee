/** @file Short words for the graphs of tests: convolutions, normalizations and constants with small whole numbers. */

import { createRng, type Rng } from "../../src/core/rng.ts";
import { int64Tensor, type LazyTensor, lazyTensor, tensor } from "../../src/core/tensor.ts";
import {
  createGraphBuilder,
  type GraphBuilder,
  type GraphBuilderOptions,
} from "../../src/ir/builder.ts";
import type { Model } from "../../src/ir/graph.ts";

export interface Parts {
  readonly g: GraphBuilder;
  readonly rng: Rng;
}

export interface ConvShape {
  readonly inC: number;
  readonly outC: number;
  /** Length per spatial axis; the number of axes follows. Default `[1, 1]`. */
  readonly kernel?: readonly number[];
  readonly group?: number;
  readonly pads?: readonly number[];
  readonly strides?: readonly number[];
  readonly dilations?: readonly number[];
  readonly bias?: boolean;
  readonly name?: string;
}

/** Whole numbers of −2 … 2 but 0: sums of thousands of products of these are exact in float32. */
export function wholeNumbers({ rng }: Pick<Parts, "rng">, count: number): Float32Array {
  return Float32Array.from(
    { length: count },
    () => (1 + rng.integer(2)) * (rng.next() < 0.5 ? -1 : 1),
  );
}

export function float32(shape: readonly number[], values: ArrayLike<number>): LazyTensor {
  return lazyTensor(tensor("float32", shape, Float32Array.from(values)));
}

export function wholeTensor(parts: Pick<Parts, "rng">, shape: readonly number[]): LazyTensor {
  return float32(
    shape,
    wholeNumbers(
      parts,
      shape.reduce((a, b) => a * b, 1),
    ),
  );
}

export function int64({ g }: Pick<Parts, "g">, values: readonly number[], name = "ints"): string {
  return g.initializer(name, lazyTensor(int64Tensor([values.length], values)));
}

export function conv(parts: Parts, x: string, shape: ConvShape): string {
  const { inC, outC, kernel = [1, 1], group = 1, pads, strides, dilations, bias = false } = shape;
  const { g } = parts;
  const { name = "conv" } = shape;
  const inputs = [
    x,
    g.initializer(`${name}.weight`, wholeTensor(parts, [outC, inC / group, ...kernel])),
  ];
  if (bias) inputs.push(g.initializer(`${name}.bias`, wholeTensor(parts, [outC])));
  return g.node(
    "Conv",
    inputs,
    {
      group,
      kernel_shape: kernel,
      ...(pads ? { pads } : {}),
      ...(strides ? { strides } : {}),
      ...(dilations ? { dilations } : {}),
    },
    name,
  );
}

/** Normalization with variances 1, 4 and 16 and epsilon 0: its factors are exact in float32. */
export function dyadicNorm(parts: Parts, x: string, channels: number, name = "bn"): string {
  const { g, rng } = parts;
  const variances = Array.from({ length: channels }, () => 4 ** rng.integer(3));
  const gammas = variances.map((variance) => Math.sqrt(variance) * (rng.next() < 0.5 ? -1 : 1));
  const inputs = [
    x,
    g.initializer(`${name}.weight`, float32([channels], gammas)),
    g.initializer(`${name}.bias`, wholeTensor(parts, [channels])),
    g.initializer(`${name}.running_mean`, wholeTensor(parts, [channels])),
    g.initializer(`${name}.running_var`, float32([channels], variances)),
  ];
  return g.node("BatchNormalization", inputs, { epsilon: { float: 0 } }, name);
}

export interface GraphOptions extends GraphBuilderOptions {
  readonly channels?: number;
  /** Spatial sizes of the input `x`. Default two dynamic ones. */
  readonly sizes?: readonly (number | string)[];
  readonly seed?: number;
}

/** A model with input `x` `[batch, channels, ...sizes]` and the outputs that `draw` returns. */
export function graphOf(
  draw: (parts: Parts, x: string) => string | readonly string[],
  options: GraphOptions = {},
): Model {
  const { channels = 4, sizes = ["h", "w"], seed = 1, ...rest } = options;
  const g = createGraphBuilder({ domains: new Map([["reparam", 1]]), ...rest });
  const x = g.input("x", "float32", ["batch", channels, ...sizes]);
  const ends = draw({ g, rng: createRng(seed) }, x);
  for (const end of typeof ends === "string" ? [ends] : ends) g.output(end, "float32", undefined);
  return g.build();
}
