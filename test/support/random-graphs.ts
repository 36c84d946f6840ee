/**
 * @file Random graphs for the engine's property tests: linear blocks of every shape the rules know, alone or in a
 * row with nonlinear operators between them. The same seed gives the same graph.
 */

import { createRng, type Rng } from "../../src/core/rng.ts";
import { int64Tensor, type LazyTensor, lazyTensor, tensor } from "../../src/core/tensor.ts";
import { createGraphBuilder, type GraphBuilder } from "../../src/ir/builder.ts";
import type { Model } from "../../src/ir/graph.ts";

interface Sketch {
  readonly g: GraphBuilder;
  readonly rng: Rng;
  /** Spatial axes. */
  readonly rank: number;
}

interface Branch {
  readonly value: string;
  readonly channels: number;
}

/** What all branches of a sum have in common, per axis. */
interface Wish {
  readonly outC: number;
  readonly stride: readonly number[];
  /** End slack the branch must have, so that sums fit. */
  readonly slack: readonly number[];
}

function numbers({ rng }: Sketch, shape: readonly number[], positive = false): LazyTensor {
  const size = shape.reduce((a, b) => a * b, 1);
  const draw = (): number => (positive ? rng.uniform(0.3, 2) : rng.uniform(-1, 1));
  return lazyTensor(tensor("float64", shape, Float64Array.from({ length: size }, draw)));
}

function integers({ g }: Sketch, name: string, values: readonly number[]): string {
  return g.initializer(name, lazyTensor(int64Tensor([values.length], values)));
}

function pick<T>(rng: Rng, options: readonly T[]): T {
  return options[rng.integer(options.length)]!;
}

function divisors(a: number, b: number): number[] {
  return [1, 2, 3, 4].filter((n) => a % n === 0 && b % n === 0);
}

function conv(
  sketch: Sketch,
  x: Branch,
  wish: Wish & { readonly pointwise?: boolean; readonly bias?: boolean },
): Branch {
  const { g, rng } = sketch;
  const group = pick(rng, divisors(x.channels, wish.outC));
  const geometry = wish.slack.map((slack) => {
    const dilation = wish.pointwise ? 1 : pick(rng, [1, 1, 2]);
    // A negative slack needs a kernel that eats it.
    const kernel = wish.pointwise ? 1 : Math.max(1 - slack, pick(rng, [1, 2, 3, 4]));
    // begin + end = slack + dilation·(kernel − 1), split at random
    const total = slack + dilation * (kernel - 1);
    const begin = total > 0 ? rng.integer(total + 1) : 0;
    return { dilation, kernel, begin, end: Math.max(total - begin, 0) };
  });
  const kernelShape = geometry.map((axis) => axis.kernel);
  const weight = numbers(sketch, [wish.outC, x.channels / group, ...kernelShape]);
  const inputs = [x.value, g.initializer("w", weight)];
  if (wish.bias ?? pick(rng, [true, false])) {
    inputs.push(g.initializer("b", numbers(sketch, [wish.outC])));
  }
  const value = g.node("Conv", inputs, {
    group,
    kernel_shape: kernelShape,
    strides: [...wish.stride],
    dilations: geometry.map((axis) => axis.dilation),
    pads: [...geometry.map((axis) => axis.begin), ...geometry.map((axis) => axis.end)],
  });
  return { value, channels: wish.outC };
}

function batchNorm(sketch: Sketch, x: Branch): Branch {
  const { g } = sketch;
  const vectors = [false, false, false, true].map((positive) =>
    g.initializer("bn", numbers(sketch, [x.channels], positive)),
  );
  const value = g.node("BatchNormalization", [x.value, ...vectors], { epsilon: { float: 1e-3 } });
  return { value, channels: x.channels };
}

function perChannel(sketch: Sketch, x: Branch): Branch {
  const { g, rng, rank } = sketch;
  const ones = Array<number>(rank).fill(1);
  const shape = pick(rng, [[1], [x.channels, ...ones], [1, x.channels, ...ones]]);
  const constant = g.initializer("c", numbers(sketch, shape, true));
  const operator = pick(rng, ["Add", "Sub", "Mul", "Div"]);
  return { value: g.node(operator, [x.value, constant]), channels: x.channels };
}

const units = (rank: number): Pick<Wish, "stride" | "slack"> => ({
  stride: Array<number>(rank).fill(1),
  slack: Array<number>(rank).fill(0),
});

/** A pointwise convolution with bias, continued by itself, then a wide convolution without padding (DBB, RVSR). */
function paddedChain(sketch: Sketch, x: Branch, wish: Wish): Branch {
  const { g, rng, rank } = sketch;
  const mid = conv(sketch, x, {
    ...units(rank),
    outC: pick(rng, [2, 4]),
    pointwise: true,
    bias: true,
  });
  const kernel = wish.slack.map((slack) => Math.max(1 - slack, 3));
  // begin + end = slack + kernel − 1
  const total = kernel.map((k, i) => wish.slack[i]! + k - 1);
  const begin = total.map((n) => rng.integer(n + 1));
  const end = total.map((n, i) => n - begin[i]!);
  const pads = { pads: [...begin, ...end] };
  const padded = g.node("PadSelf", [batchNorm(sketch, mid).value], pads, "own", "reparam");
  const weight = numbers(sketch, [wish.outC, mid.channels, ...kernel]);
  const value = g.node("Conv", [padded, g.initializer("w", weight)], {
    kernel_shape: kernel,
    strides: [...wish.stride],
  });
  return { value, channels: wish.outC };
}

/** A wider value, cut back to the wished length. */
function crop(sketch: Sketch, x: Branch, wish: Wish): Branch {
  const { g, rng, rank } = sketch;
  const wide = conv(sketch, x, {
    ...wish,
    ...units(rank),
    slack: wish.slack.map((slack) => slack + 2),
  });
  const starts = wish.slack.map(() => pick(rng, [0, 1, 2]));
  const value = g.node("Slice", [
    wide.value,
    integers(sketch, "starts", starts),
    integers(
      sketch,
      "ends",
      starts.map((start) => (start === 2 ? 2 ** 31 - 1 : start - 2)),
    ),
    integers(
      sketch,
      "axes",
      starts.map((_, i) => i + 2),
    ),
  ]);
  return { value, channels: wish.outC };
}

/** One random branch from x to `outC` channels with the wished stride and slack. */
function branch(sketch: Sketch, x: Branch, wish: Wish): Branch {
  const { g, rng, rank } = sketch;
  const unstrided = wish.stride.every((s) => s === 1);
  const same = unstrided && wish.slack.every((e) => e === 0) && wish.outC === x.channels;
  const kinds = ["conv", "conv", "conv-bn", "chain", "free-chain", "concat", "padded-chain"];
  if (unstrided) kinds.push("crop");
  if (same) kinds.push("identity", "bn", "average", "halves");
  switch (pick(rng, kinds)) {
    case "identity":
      return { value: g.node("Identity", [x.value]), channels: x.channels };
    case "bn":
      return batchNorm(sketch, x);
    case "average": {
      const value = g.node("AveragePool", [x.value], {
        kernel_shape: Array<number>(rank).fill(3),
        pads: Array<number>(2 * rank).fill(1),
        count_include_pad: 1,
      });
      return { value, channels: x.channels };
    }
    case "halves": {
      if (x.channels < 2) return batchNorm(sketch, x);
      const split = integers(sketch, "split", [1, x.channels - 1]);
      const [left, right] = g.nodeWithOutputs("Split", [x.value, split], 2, { axis: 1 });
      return { value: g.node("Concat", [right!, left!], { axis: 1 }), channels: x.channels };
    }
    case "conv-bn":
      return batchNorm(sketch, conv(sketch, x, wish));
    case "chain": {
      // A pointwise convolution, then a wide one: exact only when no bias meets the padding.
      const mid = conv(sketch, x, { ...units(rank), outC: pick(rng, [2, 4]), pointwise: true });
      return conv(sketch, pick(rng, [mid, batchNorm(sketch, mid)]), wish);
    }
    case "free-chain": {
      const mid = conv(sketch, x, { ...units(rank), outC: 4, bias: false });
      return perChannel(sketch, conv(sketch, mid, wish));
    }
    case "padded-chain":
      return paddedChain(sketch, x, wish);
    case "crop":
      return crop(sketch, x, wish);
    case "concat": {
      if (wish.outC < 2) return conv(sketch, x, wish);
      const left = conv(sketch, x, { ...wish, outC: 1 });
      const right = conv(sketch, x, { ...wish, outC: wish.outC - 1 });
      const value = g.node("Concat", [left.value, right.value], { axis: 1 });
      return { value, channels: wish.outC };
    }
    default:
      return conv(sketch, x, wish);
  }
}

/** A sum of branches, half of the time normalized. */
function block(sketch: Sketch, x: Branch, wish: Wish): Branch {
  const { g, rng } = sketch;
  let sum = branch(sketch, x, wish);
  for (let i = 0; i < 1 + rng.integer(3); i++) {
    const other = branch(sketch, x, wish);
    const operator = pick(rng, ["Add", "Add", "Sub"]);
    sum = { value: g.node(operator, [sum.value, other.value]), channels: wish.outC };
  }
  return rng.next() < 0.5 ? batchNorm(sketch, sum) : sum;
}

function randomWish(rng: Rng, rank: number, inC: number): Wish {
  const [stride, slack] = [pick(rng, [1, 1, 1, 2, 3]), pick(rng, [0, 0, 0, -1, -2, 1])];
  const vary = rng.next() < 0.2;
  return {
    outC: pick(rng, [inC, inC, 2, 4]),
    stride: Array.from({ length: rank }, () => (vary ? pick(rng, [1, 2]) : stride)),
    slack: Array.from({ length: rank }, () => (vary ? pick(rng, [0, -1]) : slack)),
  };
}

/** One linear block between a graph input `x` of `rank` dynamic spatial axes and a Relu. */
export function randomBlock(seed: number, rank: number): Model {
  const rng = createRng(seed);
  const g = createGraphBuilder({ opset: 17, domains: new Map([["reparam", 1]]) });
  const inC = pick(rng, [1, 2, 3, 4, 6]);
  const sizes = Array.from({ length: rank }, (_, i) => `n${i}`);
  const input = { value: g.input("x", "float64", ["batch", inC, ...sizes]), channels: inC };
  const sketch = { g, rng, rank };
  const end = block(sketch, input, randomWish(rng, rank, inC));
  g.output(end.value, "float64", undefined);
  g.output(g.node("Relu", [end.value]), "float64", undefined);
  return g.build();
}

/**
 * Several blocks in a row and side by side, with Relu and shortcuts between them and inner values tapped as outputs.
 * No `PadSelf`, whose naive meaning needs a single region.
 */
export function randomNet(seed: number): Model {
  const rng = createRng(seed);
  const g = createGraphBuilder({ opset: 17 });
  const sketch: Sketch = { g, rng, rank: 2 };
  const inC = pick(rng, [2, 3, 4]);
  let x: Branch = { value: g.input("x", "float64", ["batch", inC, "h", "w"]), channels: inC };
  const wish: Wish = { ...units(2), outC: 4 };
  for (let i = 0; i < 2 + rng.integer(3); i++) {
    let made = withoutPadSelf(sketch, x, wish);
    if (rng.next() < 0.3) g.output(made.value, "float64", undefined);
    made = { ...made, value: g.node("Relu", [made.value]) };
    if (rng.next() < 0.3) {
      const beside = batchNorm(sketch, conv(sketch, x, wish));
      const shortcut = g.node("Relu", [beside.value]);
      made = { ...made, value: g.node("Mul", [made.value, shortcut]) };
    }
    x = made;
  }
  g.output(x.value, "float64", undefined);
  return g.build();
}

function withoutPadSelf(sketch: Sketch, x: Branch, wish: Wish): Branch {
  const { g } = sketch;
  const parts = [conv(sketch, x, wish), batchNorm(sketch, conv(sketch, x, wish))];
  if (wish.outC === x.channels) parts.push(batchNorm(sketch, x));
  const [first, ...rest] = parts.map((part) => part.value);
  const value = rest.reduce((sum, part) => g.node("Add", [sum, part]), first!);
  return { value, channels: wish.outC };
}
