/** @file Random plain convolution nets for insertion tests: every geometry a user may have, batch norms in any order. */

import { encodeFloat64, type FloatDType } from "../../src/core/dtype.ts";
import { createRng, type Rng } from "../../src/core/rng.ts";
import { type LazyTensor, lazyTensor } from "../../src/core/tensor.ts";
import { createGraphBuilder, type GraphBuilder } from "../../src/ir/builder.ts";
import type { Model } from "../../src/ir/graph.ts";

export interface RandomConvNet {
  readonly model: Model;
  readonly inC: number;
  /** Smallest input height and width that no layer shrinks to nothing. */
  readonly minSize: number;
}

interface Sketch {
  readonly g: GraphBuilder;
  readonly rng: Rng;
  readonly dtype: FloatDType;
  /** A batch norm behind every convolution. */
  readonly everywhere: boolean;
}

export function pick<T>(rng: Rng, options: readonly T[]): T {
  return options[rng.integer(options.length)]!;
}

/** One to three convolutions (2-D), most with a batch norm, some with activations or a skip connection. */
export function randomConvNet(
  seed: number,
  dtype: FloatDType,
  { batchNorm: everywhere = false }: { readonly batchNorm?: boolean } = {},
): RandomConvNet {
  const rng = createRng(seed);
  const g = createGraphBuilder({ opset: pick(rng, [13, 17]), name: "net" });
  const sketch: Sketch = { g, rng, dtype, everywhere };
  const inC = pick(rng, [1, 2, 3, 4, 6]);
  let [value, channels] = [g.input("x", dtype, ["n", inC, "h", "w"]), inC];
  const reaches: number[] = [];
  const layers = 1 + rng.integer(3);
  for (let i = 0; i < layers; i++) {
    const layer = convLayer(sketch, value, channels, `layer${i}`);
    reaches.push(layer.reach);
    [value, channels] = [layer.value, layer.channels];
    if (i < layers - 1 || rng.next() < 0.5) value = g.node("Relu", [value], {}, `relu${i}`);
  }
  g.output(value, dtype, undefined);
  // From the last layer back: n positions at stride ≤ 2 need (n − 1)·2 + 1 + reach ≤ 2n + reach of the layer's input.
  const minSize = reaches.reduceRight((positions, reach) => positions * 2 + reach, 1);
  return { model: g.build(), inC, minSize };
}

function convLayer(
  sketch: Sketch,
  x: string,
  inC: number,
  name: string,
): { value: string; channels: number; reach: number } {
  const { g, rng, dtype, everywhere } = sketch;
  const outC = pick(rng, [inC, inC, 2, 4, 6]);
  const groups = [1, 2, 3, 4, 6].filter((n) => inC % n === 0 && outC % n === 0);
  const group = pick(rng, [1, ...groups, groups.at(-1)!]);
  const square = rng.next() < 0.7;
  const first = axisOf(rng);
  const axes = [first, square ? first : axisOf(rng)];
  const shape = [outC, inC / group, ...axes.map((axis) => axis.kernel)];
  const inputs = [x, g.initializer(`${name}.weight`, normal(rng, shape, dtype))];
  if (rng.next() < 0.5) inputs.push(g.initializer(`${name}.bias`, normal(rng, [outC], dtype)));
  let value = g.node(
    "Conv",
    inputs,
    {
      group,
      kernel_shape: axes.map((axis) => axis.kernel),
      strides: axes.map((axis) => axis.stride),
      dilations: axes.map((axis) => axis.dilation),
      pads: [...axes.map((axis) => axis.begin), ...axes.map((axis) => axis.end)],
    },
    name,
  );
  if (rng.next() < 0.7 || everywhere) value = batchNorm(sketch, value, outC, `${name}.bn`);
  const reach = Math.max(...axes.map((axis) => axis.dilation * (axis.kernel - 1)));
  return { value, channels: outC, reach };
}

function axisOf(rng: Rng): {
  kernel: number;
  stride: number;
  dilation: number;
  begin: number;
  end: number;
} {
  const kernel = pick(rng, [1, 2, 3, 3, 3, 4, 5]);
  const dilation = pick(rng, [1, 1, 2]);
  const reach = dilation * (kernel - 1);
  const same = Math.floor(reach / 2);
  const [begin, end] = pick(rng, [
    [same, same],
    [same, same],
    [0, 0],
    [rng.integer(reach + 1), rng.integer(reach + 2)],
  ]) as [number, number];
  return { kernel, stride: pick(rng, [1, 1, 2]), dilation, begin, end };
}

/** γ of both signs, and now and then a dead channel; statistics that mean something. */
function batchNorm({ g, rng, dtype }: Sketch, x: string, channels: number, name: string): string {
  const gamma = (): number => (rng.next() < 0.1 ? 0 : rng.normal());
  const parameters = [
    g.initializer(`${name}.weight`, tensorOf([channels], dtype, gamma)),
    g.initializer(`${name}.bias`, normal(rng, [channels], dtype)),
    g.initializer(`${name}.running_mean`, normal(rng, [channels], dtype)),
    g.initializer(
      `${name}.running_var`,
      tensorOf([channels], dtype, () => rng.uniform(0.2, 3)),
    ),
  ];
  const epsilon = { float: Math.fround(1e-3) };
  return g.node("BatchNormalization", [x, ...parameters], { epsilon }, name);
}

export function normal(rng: Rng, shape: readonly number[], dtype: FloatDType): LazyTensor {
  return tensorOf(shape, dtype, () => rng.normal());
}

export function tensorOf(
  shape: readonly number[],
  dtype: FloatDType,
  at: () => number,
): LazyTensor {
  const size = shape.reduce((a, b) => a * b, 1);
  const bytes = encodeFloat64(Float64Array.from({ length: size }, at), dtype);
  return lazyTensor({ dtype, shape, bytes });
}
