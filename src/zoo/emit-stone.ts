/**
 * @file Bound stones to graph nodes, for one assumed group count. Channel counts are worked out on the way; where
 * shapes contradict each other or the group count, `bad-data` is thrown.
 */

import { badData } from "../core/errors.ts";
import {
  elementCount,
  formatShape,
  int64Tensor,
  type LazyTensor,
  lazyTensor,
  type StateDict,
} from "../core/tensor.ts";
import type { GraphBuilder } from "../ir/builder.ts";
import type { BoundStone } from "./bind-stone.ts";
import {
  assertConvWeight,
  constantVector,
  evaluateExpression,
  reshape,
  rowsByGroup,
} from "./evaluate-expression.ts";
import type { Expression } from "./family.ts";
import { MAX_CHANNELS, MAX_KERNEL } from "./limits.ts";

/** What emission needs and what it finds out. */
export interface Emission {
  readonly builder: GraphBuilder;
  readonly state: StateDict;
  /** The group count that convolutions with `group: "block"` have. */
  readonly group: number;
  /** What BatchNorm layers use whose module record has no `eps`. */
  readonly epsilon: number;
  /** Whether to take `sameChannels` terms where they fit. Default: yes. */
  readonly identity: boolean | undefined;
  /** Epsilons read from module records. */
  readonly fileEpsilons: Set<number>;
  /** Output channels of the convolutions that have the block's group count. */
  readonly groupedOutputs: Set<number>;
  /** Ranks of the convolution weights: 2 for linear layers. */
  readonly weightRanks: Set<number>;
  /** Whether `sameChannels` terms were taken or left out; undefined if the block has none. */
  sameChannels: boolean | undefined;
}

/** Filled in once known; values that pass a channel count on share the object. */
export interface Channels {
  count: number | undefined;
}

export interface EmittedValue {
  readonly name: string;
  readonly channels: Channels;
}

export function emitStone(stone: BoundStone, x: EmittedValue, to: Emission): EmittedValue {
  switch (stone.op) {
    case "identity":
      return x;
    case "same-channels":
      throw badData("sameChannels", "stands outside a sum, expected a term of one");
    case "sequence":
      return stone.parts.reduce((value, part) => emitStone(part, value, to), x);
    case "sum":
      return emitSum(stone.parts, x, to);
    case "concat":
      return emitConcat(stone.parts, x, to);
    case "conv":
      return emitConv(stone, x, to);
    case "bn":
      return emitBatchNorm(stone, x, to);
    case "average": {
      const [kH, kW] = kernelLike(stone.size, to);
      const [padH, padW] =
        stone.padding === "same"
          ? [Math.floor(kH / 2), Math.floor(kW / 2)]
          : [stone.padding, stone.padding];
      const name = to.builder.node(
        "AveragePool",
        [x.name],
        {
          kernel_shape: [kH, kW],
          pads: [padH, padW, padH, padW],
          strides: [1, 1],
          count_include_pad: 1,
        },
        "average",
      );
      return { name, channels: x.channels };
    }
    case "scale":
    case "shift": {
      const operand = channelConstant(stone.by, x, to, stone.op);
      const opType = stone.op === "scale" ? "Mul" : "Add";
      return {
        name: to.builder.node(opType, [x.name, operand], {}, stone.op),
        channels: x.channels,
      };
    }
    case "pad":
      return emitPad(stone.size, stone.self, x, to);
    case "crop": {
      const { builder } = to;
      const ints = (values: number[]) =>
        builder.initializer("crop", lazyTensor(int64Tensor([values.length], values)));
      const bounds = [
        ints([stone.size, stone.size]),
        ints([-stone.size, -stone.size]),
        ints([2, 3]),
      ];
      return { name: builder.node("Slice", [x.name, ...bounds], {}, "crop"), channels: x.channels };
    }
  }
}

/** Sets or checks a channel count. Throws `bad-data` on a contradiction. */
function setChannels(channels: Channels, count: number, where: string): void {
  if (count > MAX_CHANNELS) {
    throw badData(where, `${count} channels, expected at most ${MAX_CHANNELS}`);
  }
  if (channels.count !== undefined && channels.count !== count) {
    throw badData(where, `is made for ${count} channels, but its input has ${channels.count}`);
  }
  channels.count = count;
}

function emitSum(parts: readonly BoundStone[], x: EmittedValue, to: Emission): EmittedValue {
  const conditional = parts.flatMap((part) => (part.op === "same-channels" ? [part.part] : []));
  const terms = parts
    .filter((part) => part.op !== "same-channels")
    .map((part) => emitStone(part, x, to));
  const count = terms.find((term) => term.channels.count !== undefined)?.channels.count;
  if (count !== undefined) {
    for (const term of terms) setChannels(term.channels, count, `sum (${term.name})`);
  }
  if (conditional.length > 0) {
    const fits = count !== undefined && x.channels.count === count;
    to.sameChannels = fits && (to.identity ?? true);
    if (to.sameChannels) terms.push(...conditional.map((part) => emitStone(part, x, to)));
  }
  const [first, ...rest] = terms;
  if (!first) throw badData("sum", "has no terms in this checkpoint, expected at least one");
  let name = first.name;
  for (const term of rest) name = to.builder.node("Add", [name, term.name], {}, "sum");
  return { name, channels: first.channels };
}

function emitConcat(parts: readonly BoundStone[], x: EmittedValue, to: Emission): EmittedValue {
  const values = parts.map((part) => emitStone(part, x, to));
  let total = 0;
  for (const { name, channels } of values) {
    if (channels.count === undefined) {
      throw badData(`concat (${name})`, "the channel count does not follow from the shapes");
    }
    total += channels.count;
  }
  const name = to.builder.node(
    "Concat",
    values.map((value) => value.name),
    { axis: 1 },
    "concat",
  );
  return { name, channels: { count: total } };
}

function emitConv(
  stone: Extract<BoundStone, { op: "conv" }>,
  x: EmittedValue,
  to: Emission,
): EmittedValue {
  const { builder, state } = to;
  const { path } = stone;
  let weight = evaluateExpression(stone.weight, state.tensors);
  to.weightRanks.add(weight.shape.length);
  if (weight.shape.length === 2) weight = reshape(weight, [...weight.shape, 1, 1]);
  assertConvWeight(path, weight.shape);
  const [outC = 0, inPerGroup = 0, kH = 0, kW = 0] = weight.shape;
  const group = groupOf(stone, x, outC, inPerGroup, to);
  const recorded = state.modules.get(path)?.attributes["groups"];
  if (typeof recorded === "number" && recorded !== group) {
    throw badData(path, `the module says ${recorded} groups, the shapes ${group}`);
  }
  setChannels(x.channels, group * inPerGroup, path);
  if (outC % group !== 0) throw badData(path, `${outC} filters do not divide into ${group} groups`);
  if (stone.interleaved && group > 1) weight = rowsByGroup(weight, group);
  const [padH, padW] = [kH, kW].map((size) => padOf(stone, size, path)) as [number, number];
  const inputs = [x.name, initializer(stone.weight, `${path}.weight`, weight, to)];
  if (stone.bias !== undefined) {
    const bias = evaluateExpression(stone.bias, state.tensors);
    if (elementCount(bias.shape) !== outC) {
      throw badData(path, `bias is ${formatShape(bias.shape)}, expected [${outC}]`);
    }
    inputs.push(initializer(stone.bias, `${path}.bias`, reshape(bias, [outC]), to));
  }
  const name = builder.node(
    "Conv",
    inputs,
    {
      kernel_shape: [kH, kW],
      pads: [padH, padW, padH, padW],
      strides: [1, 1],
      dilations: [stone.dilation, stone.dilation],
      group,
    },
    path,
  );
  return { name, channels: { count: outC } };
}

function groupOf(
  stone: Extract<BoundStone, { op: "conv" }>,
  x: EmittedValue,
  outC: number,
  inPerGroup: number,
  to: Emission,
): number {
  const { group, path } = stone;
  if (typeof group === "number") return group;
  if (group === "block") {
    to.groupedOutputs.add(outC);
    return to.group;
  }
  const { count } = x.channels;
  if (count === undefined) {
    throw badData(path, "its input's channel count does not follow from the shapes");
  }
  if (count % inPerGroup !== 0 || (group === "depthwise" && inPerGroup !== 1)) {
    throw badData(path, `${inPerGroup} input channels per group do not fit ${count} channels`);
  }
  return count / inPerGroup;
}

function padOf(stone: Extract<BoundStone, { op: "conv" }>, size: number, path: string): number {
  const { padding, dilation } = stone;
  if (!Number.isInteger(dilation) || dilation < 1 || dilation * size > MAX_KERNEL * MAX_KERNEL) {
    throw badData(path, `dilation ${dilation} of a ${size}-tap kernel is out of range`);
  }
  if (padding !== "same") return padding;
  const both = dilation * (size - 1);
  if (both % 2 !== 0) {
    throw badData(
      path,
      `a ${size}-tap kernel with dilation ${dilation} has no symmetric "same" padding`,
      "Give the padding as a number in the recipe",
    );
  }
  return both / 2;
}

function emitBatchNorm(
  stone: Extract<BoundStone, { op: "bn" }>,
  x: EmittedValue,
  to: Emission,
): EmittedValue {
  const { builder, state } = to;
  const { path } = stone;
  const mean = evaluateExpression(stone.mean, state.tensors);
  const count = elementCount(mean.shape);
  setChannels(x.channels, count, path);
  const input = (key: string | undefined, otherwise: number): string => {
    if (key === undefined) {
      return builder.initializer(`${path}.${otherwise}`, constantVector(count, otherwise));
    }
    const value = evaluateExpression(key, state.tensors);
    if (value.shape.length !== 1 || value.shape[0] !== count) {
      throw badData(key, `shape is ${formatShape(value.shape)}, expected [${count}]`);
    }
    return initializer(key, key, value, to);
  };
  const recorded = state.modules.get(path)?.attributes["eps"];
  const epsilon = typeof recorded === "number" ? recorded : to.epsilon;
  if (typeof recorded === "number") to.fileEpsilons.add(recorded);
  const name = builder.node(
    "BatchNormalization",
    [
      x.name,
      input(stone.gamma, 1),
      input(stone.beta, 0),
      input(stone.mean, 0),
      input(stone.variance, 1),
    ],
    { epsilon: { float: epsilon } },
    path,
  );
  return { name, channels: x.channels };
}

/** One number, or one per channel shaped to broadcast. */
function channelConstant(
  expression: Expression,
  x: EmittedValue,
  to: Emission,
  where: string,
): string {
  const value = evaluateExpression(expression, to.state.tensors);
  const count = elementCount(value.shape);
  if (count !== 1) setChannels(x.channels, count, where);
  const shaped = reshape(value, count === 1 ? [] : [1, count, 1, 1]);
  return initializer(expression, where, shaped, to);
}

function emitPad(
  size: number | string,
  self: boolean,
  x: EmittedValue,
  to: Emission,
): EmittedValue {
  const { builder } = to;
  const [padH, padW] =
    typeof size === "number" ? [size, size] : kernelLike(size, to).map((k) => Math.floor(k / 2));
  const pads = [padH ?? 0, padW ?? 0, padH ?? 0, padW ?? 0];
  const { channels } = x;
  if (self) {
    return { name: builder.node("PadSelf", [x.name], { pads }, "pad", "reparam"), channels };
  }
  const amounts = [0, 0, pads[0]!, pads[1]!, 0, 0, pads[2]!, pads[3]!];
  const operand = builder.initializer("pads", lazyTensor(int64Tensor([8], amounts)));
  return { name: builder.node("Pad", [x.name, operand], { mode: "constant" }, "pad"), channels };
}

function kernelLike(size: number | string, to: Emission): [number, number] {
  if (typeof size === "number") return [size, size];
  const { shape } = evaluateExpression(size, to.state.tensors);
  assertConvWeight(size, shape);
  return [shape[2] ?? 1, shape[3] ?? 1];
}

/** Initializers are called after their tensor where they are one, so that messages can name it. */
function initializer(
  expression: Expression,
  name: string,
  value: LazyTensor,
  to: Emission,
): string {
  const wish = typeof expression === "string" ? expression : name;
  // "x" and "y" are the graph's own.
  return to.builder.initializer(wish === "x" || wish === "y" ? `${wish}.tensor` : wish, value);
}
