/** @file A block as ONNX nodes: branches from the same input, added up under the name of the value they replace. */

import { int64Tensor, type LazyTensor, lazyTensor } from "../../core/tensor.ts";
import { type AttributeInputs, toAttribute } from "../../ir/builder.ts";
import type { Attribute, Node } from "../../ir/graph.ts";
import type { NameScope } from "../../ir/names.ts";
import type { BlockTensors } from "./block-tensors.ts";
import type { Block } from "./blocks.ts";
import type { AverageStep, BatchNormStep, Branch, ConvStep, Step } from "./branch.ts";

/** Where a block goes. */
export interface Place {
  readonly name: string;
  readonly input: string;
  readonly output: string;
  readonly opset: number;
}

export interface EmittedBlock {
  readonly nodes: readonly Node[];
  readonly initializers: ReadonlyMap<string, LazyTensor>;
  /** By batch norm key, the value it reads. */
  readonly batchNormInputs: ReadonlyMap<string, string>;
}

export function emitBlock(
  block: Block,
  { tensors, epsilons }: BlockTensors,
  place: Place,
  names: NameScope,
): EmittedBlock {
  const nodes: Node[] = [];
  const initializers = new Map<string, LazyTensor>();
  const batchNormInputs = new Map<string, string>();
  const store = (key: string, tensor: LazyTensor): string => {
    const name = names.fresh(`${place.name}.${key}`);
    initializers.set(name, tensor);
    return name;
  };
  const emit = (
    opType: string,
    inputs: readonly string[],
    label: string,
    attributes: AttributeInputs = {},
    output = names.fresh(`${place.name}.${label}.out`),
  ): string => {
    const map = new Map<string, Attribute>(
      Object.entries(attributes).map(([key, value]) => [key, toAttribute(key, value)]),
    );
    const name = names.fresh(`${place.name}.${label}`);
    nodes.push({ opType, domain: "", name, inputs, outputs: [output], attributes: map });
    return output;
  };
  const last = block.branches.length === 1 ? place.output : undefined;
  const emitStep = (step: Step, x: string, output: string | undefined): string => {
    if (step.op === "average") return emit("AveragePool", [x], `average`, windowOf(step), output);
    if (step.op === "conv") {
      const weight = store(`${step.key}.weight`, tensors.get(`${step.key}.weight`)!);
      return emit("Conv", [x, weight], step.key, convOf(step), output);
    }
    batchNormInputs.set(step.key, x);
    const parameters = vectorsOf(step).map((key) => store(key, tensors.get(key)!));
    const epsilon = { float: epsilons.get(step.key)! };
    return emit("BatchNormalization", [x, ...parameters], step.key, { epsilon }, output);
  };
  const results = block.branches.map((branch) => {
    let value = emitCrop(branch, place, store, emit);
    for (const [i, step] of branch.steps.entries()) {
      value = emitStep(step, value, i === branch.steps.length - 1 ? last : undefined);
    }
    return value;
  });
  results.reduce((sum, value, i) =>
    emit("Add", [sum, value], "sum", {}, i === results.length - 1 ? place.output : undefined),
  );
  return { nodes, initializers, batchNormInputs };
}

/** γ, β, μ, σ² under PyTorch's names, in ONNX's order. */
function vectorsOf({ key }: BatchNormStep): string[] {
  return ["weight", "bias", "running_mean", "running_var"].map((name) => `${key}.${name}`);
}

function windowOf({ axes }: ConvStep | AverageStep): AttributeInputs {
  const padded = axes.some((axis) => axis.beginPad > 0 || axis.endPad > 0);
  return {
    kernel_shape: axes.map((axis) => axis.kernel),
    strides: axes.map((axis) => axis.stride),
    pads: [...axes.map((axis) => axis.beginPad), ...axes.map((axis) => axis.endPad)],
    ...(padded ? { count_include_pad: 1 } : {}),
  };
}

function convOf(step: ConvStep): AttributeInputs {
  const { count_include_pad: _, ...window } = windowOf(step);
  return { ...window, dilations: step.axes.map((axis) => axis.dilation), group: step.group };
}

/** A `Slice` where the branch reads less than the whole input; the end is counted from the end, for any input size. */
function emitCrop(
  { beginCrops, endCrops, kind }: Branch,
  { input, opset }: Place,
  store: (key: string, tensor: LazyTensor) => string,
  emit: (
    opType: string,
    inputs: readonly string[],
    label: string,
    attributes?: AttributeInputs,
  ) => string,
): string {
  const axes = beginCrops.flatMap((n, i) => (n > 0 || endCrops[i]! > 0 ? [i] : []));
  if (axes.length === 0) return input;
  const bounds = {
    starts: axes.map((i) => beginCrops[i]!),
    ends: axes.map((i) => (endCrops[i]! > 0 ? -endCrops[i]! : 2 ** 31 - 1)),
    axes: axes.map((i) => i + 2),
  };
  const label = `${kind}_crop`;
  if (opset < 10) return emit("Slice", [input], label, bounds);
  const operands = Object.entries(bounds).map(([key, value]) =>
    store(`${label}.${key}`, lazyTensor(int64Tensor([value.length], value))),
  );
  return emit("Slice", [input, ...operands], label);
}
