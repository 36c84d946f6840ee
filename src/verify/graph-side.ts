/** @file An ONNX graph as one side of a comparison: the regions that fuse, and every constant outside them. */

import { weightShape } from "../algebra/emit.ts";
import { BATCHNORM_BIAS_ROUNDINGS, BATCHNORM_WEIGHT_ROUNDINGS } from "../algebra/scale-shift.ts";
import type { OnnxFile } from "../convert/open.ts";
import { decodeFloat64, isFloatDType } from "../core/dtype.ts";
import { type LazyTensor, lazyTensor, tensor } from "../core/tensor.ts";
import { type Graph, intAttribute, isOp, type Node } from "../ir/graph.ts";
import { type GraphIndex, indexGraph } from "../ir/index-graph.ts";
import { type Constant, collectConstants } from "../rewrite/constants.ts";
import { planReparam, type Region } from "../rewrite/plan.ts";
import { fusedNumbers } from "./fused-numbers.ts";
import { type Kernel, storedKernel } from "./kernel.ts";
import type { KernelParts, Side } from "./side.ts";
import { subgraphTensors } from "./subgraph-tensors.ts";

export async function graphSide(file: OnnxFile): Promise<Side> {
  const { graph } = file.model;
  const plan = await planReparam(file.model, { allowCostlier: false });
  const constants = await collectConstants(graph, file.model.opsets.get("") ?? 0);
  const reader: ConstantReader = { graph, constants, index: indexGraph(graph) };
  const fused = plan.regions.map((region) => regionKernel(file.name, region));
  const inside = new Set(plan.regions.flatMap((region) => region.nodes));
  const rest = constantsOf(
    reader,
    graph.nodes.filter((node) => !inside.has(node)),
  );
  const outer = new Map([...constants].map(([name, { tensor }]) => [name, tensor]));
  const inner = subgraphTensors(graph.nodes, outer);
  return {
    file,
    form: plan.regions.some(joinsBranches) ? "training" : "deploy",
    fused,
    parts: new Map(plan.regions.map((region, i) => [fused[i]!, constantsOf(reader, region.nodes)])),
    tensors: new Map([...rest.tensors, ...inner]),
    stored: rest.stored,
    folds: [],
    notes: [],
  };
}

function regionKernel(file: string, region: Region): Kernel {
  const { affine, emission } = region;
  const { roundings } = affine;
  const folded = mayBeFolded(region);
  return {
    name: region.nodes.at(-1)?.name || region.output,
    weightName: region.output,
    biasName: undefined,
    shape: weightShape(emission),
    dtype: region.dtype,
    roundings: folded
      ? {
          weight: roundings.weight + 2 * BATCHNORM_WEIGHT_ROUNDINGS,
          bias: roundings.bias + 2 * BATCHNORM_BIAS_ROUNDINGS,
        }
      : roundings,
    mayBeFolded: folded,
    geometry: emission,
    stored: undefined,
    block: undefined,
    region,
    ...fusedNumbers(file, affine, emission),
  };
}

/**
 * A convolution with a bias and no batch norm behind it may be an exporter's float32 fold of both. Then this file is no
 * exact origin: it and the other file are two folds of the same net, and each has made a fold's roundings.
 */
function mayBeFolded({ nodes }: Region): boolean {
  const normalized = new Set(
    nodes.filter((node) => isOp(node, "BatchNormalization")).map((node) => node.inputs[0]!),
  );
  return nodes.some(
    (node) => isOp(node, "Conv") && node.inputs[2] && !normalized.has(node.outputs[0]!),
  );
}

/** Whether a region adds or concatenates values; a convolution with its batch norm alone is in both forms. */
function joinsBranches(region: Region): boolean {
  const inside = new Set([region.input, ...region.nodes.flatMap((node) => node.outputs)]);
  return region.nodes.some((node) => node.inputs.filter((input) => inside.has(input)).length > 1);
}

interface ConstantReader {
  readonly graph: Graph;
  readonly constants: ReadonlyMap<string, Constant>;
  readonly index: GraphIndex;
}

/** Float constants that `nodes` read beside values, and the kernels among them. */
function constantsOf(reader: ConstantReader, nodes: readonly Node[]): KernelParts {
  const tensors = new Map<string, LazyTensor>();
  const stored: Kernel[] = [];
  for (const node of nodes) {
    const operands = node.inputs.map((input) => reader.constants.get(input));
    // A constant expression is no parameter; its own inputs are.
    if (operands.every((operand) => operand !== undefined)) continue;
    for (const operand of operands) {
      if (operand && isFloatDType(operand.tensor.dtype)) tensors.set(operand.name, operand.tensor);
    }
    const kernel = kernelOf(reader, node, operands);
    if (kernel) stored.push(kernel);
  }
  return { tensors, stored };
}

function kernelOf(
  reader: ConstantReader,
  node: Node,
  operands: readonly (Constant | undefined)[],
): Kernel | undefined {
  const [, weight, bias] = operands;
  if (!weight || !isFloatDType(weight.tensor.dtype)) return undefined;
  if (isOp(node, "Conv") || (isOp(node, "Gemm") && intAttribute(node, "transB", 0) === 1)) {
    return storedKernel(weight.name, weight.tensor, bias?.name, bias?.tensor);
  }
  const isMatrix = weight.tensor.shape.length === 2;
  if (!isMatrix || !(isOp(node, "MatMul") || isOp(node, "Gemm"))) return undefined;
  const added = isOp(node, "Gemm") ? bias : addedAfter(reader, node, weight.tensor.shape[1]!);
  return storedKernel(weight.name, transposed(weight.tensor), added?.name, added?.tensor);
}

/** The bias that a linear layer written as MatMul and Add has. */
function addedAfter(
  { constants, index }: ConstantReader,
  node: Node,
  outC: number,
): Constant | undefined {
  const readers = index.uses(node.outputs[0]!);
  const [add] = readers;
  if (!add || readers.length > 1 || !isOp(add, "Add")) return undefined;
  const bias = add.inputs.map((input) => constants.get(input)).find((one) => one !== undefined);
  return bias?.tensor.shape.length === 1 && bias.tensor.shape[0] === outC ? bias : undefined;
}

/** `[inC, outC]` as `[outC, inC]`, read whole. */
function transposed(matrix: LazyTensor): LazyTensor {
  const [inC = 0, outC = 0] = matrix.shape;
  return {
    dtype: "float64",
    shape: [outC, inC],
    read: async (start = 0, end = inC * outC) => {
      const values = decodeFloat64(await matrix.read(), matrix.dtype);
      const turned = new Float64Array(values.length);
      for (let o = 0; o < outC; o++) {
        for (let c = 0; c < inC; c++) turned[o * inC + c] = values[c * outC + o]!;
      }
      return await lazyTensor(tensor("float64", [outC, inC], turned)).read(start, end);
    },
  };
}
