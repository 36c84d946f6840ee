/**
 * @file Carries out a plan: every region becomes one Conv (with a Slice before it where the input has to be cropped),
 * or one Gemm where there are no spatial axes. The new weights are lazy: they are computed when the model is written.
 * Nothing outside the regions is touched.
 */

import { ReparamError } from "../core/errors.ts";
import { int64Tensor, type LazyTensor, lazyTensor } from "../core/tensor.ts";
import { type Attribute, type Graph, type Model, type Node, nodeLabel } from "../ir/graph.ts";
import { usedValues } from "../ir/index-graph.ts";
import { createNameScope, type NameScope } from "../ir/names.ts";
import { validateModel } from "../ir/validate.ts";
import { isLinearLayer } from "./cost.ts";
import { type FusedKernel, fusedKernel } from "./fused-tensors.ts";
import { addInitializers } from "./initializers.ts";
import type { Plan, Region } from "./plan-types.ts";
import { regionSignature } from "./signature.ts";

/** One region after fusing, for the verdict and the report. */
export interface AppliedRegion {
  readonly region: Region;
  readonly kernel: FusedKernel;
  /** Names in the new graph. */
  readonly node: string;
  readonly weight: string;
  readonly bias: string | undefined;
}

export interface AppliedPlan {
  readonly model: Model;
  readonly modified: boolean;
  readonly regions: readonly AppliedRegion[];
}

/** Throws `usage` if the plan was made for another model. */
export function applyPlan(model: Model, plan: Pick<Plan, "regions">): AppliedPlan {
  const names = createNameScope(model.graph);
  const opset = model.opsets.get("") ?? 0;
  const known = new Set(model.graph.nodes);
  const replacement = new Map<Node, Node[]>();
  const added = new Map<string, LazyTensor>();
  const regions: AppliedRegion[] = [];
  const kernels = new Map<string, SharedKernel>();
  for (const region of plan.regions) {
    const stranger = region.nodes.find((node) => !known.has(node));
    if (stranger) {
      throw new ReparamError("usage", {
        where: "applyPlan",
        what: `node ${nodeLabel(stranger)} of the plan is not in the model`,
        fix: "Plan the same model object that is applied",
      });
    }
    const fused = fuseRegion(region, names, opset, kernels);
    for (const node of region.nodes) replacement.set(node, []);
    replacement.set(region.nodes.at(-1)!, fused.nodes);
    for (const [name, tensor] of fused.initializers) added.set(name, tensor);
    regions.push(fused.applied);
  }
  const nodes = model.graph.nodes.flatMap((node) => replacement.get(node) ?? [node]);
  const extended = addInitializers({ ...model.graph, nodes }, added, model.irVersion);
  const graph = dropUnused(extended, model.graph);
  const result = { ...model, graph };
  validateModel(result);
  return { model: result, modified: regions.length > 0, regions };
}

/** Without the initializers and value types that only the replaced nodes used. */
function dropUnused(graph: Graph, before: Graph): Graph {
  const used = usedValues(graph);
  const usedBefore = usedValues(before);
  const gone = (name: string): boolean => usedBefore.has(name) && !used.has(name);
  const made = new Set(graph.nodes.flatMap((node) => node.outputs));
  return {
    ...graph,
    initializers: new Map([...graph.initializers].filter(([name]) => !gone(name))),
    // Older files list initializers among the inputs.
    inputs: graph.inputs.filter(
      (input) => !(before.initializers.has(input.name) && gone(input.name)),
    ),
    valueInfos: new Map([...graph.valueInfos].filter(([name]) => made.has(name))),
  };
}

interface FusedRegion {
  readonly nodes: Node[];
  readonly initializers: ReadonlyMap<string, LazyTensor>;
  readonly applied: AppliedRegion;
}

/** A fused kernel and its names, for all regions that are the same computation. */
interface SharedKernel {
  readonly kernel: FusedKernel;
  readonly weight: string;
  readonly bias: string | undefined;
}

function fuseRegion(
  region: Region,
  names: NameScope,
  opset: number,
  kernels: Map<string, SharedKernel>,
): FusedRegion {
  const stem = commonStem(region);
  const initializers = new Map<string, LazyTensor>();
  const signature = regionSignature(region);
  let shared = kernels.get(signature);
  if (!shared) {
    const kernel = fusedKernel(region.affine, region.emission, region.dtype);
    const weight = names.fresh(`${stem}.weight`);
    const bias = region.affine.biasIsZero ? undefined : names.fresh(`${stem}.bias`);
    initializers.set(weight, kernel.weight);
    if (bias !== undefined) initializers.set(bias, kernel.bias);
    shared = { kernel, weight, bias };
    kernels.set(signature, shared);
  }
  const { kernel, weight, bias } = shared;
  const nodes: Node[] = [];
  const input = cropNode(region, names, opset, stem, nodes, initializers);
  const isGemm = region.emission.kernelShape.length === 0;
  const inputs = bias === undefined ? [input, weight] : [input, weight, bias];
  if (isGemm && bias === undefined && opset < 11) {
    // The third input of Gemm is optional since opset 11.
    const zero = names.fresh(`${stem}.bias`);
    initializers.set(zero, kernel.bias);
    inputs.push(zero);
  }
  const node: Node = {
    opType: isGemm ? "Gemm" : "Conv",
    domain: "",
    name: names.fresh(stem),
    inputs,
    outputs: [region.output],
    attributes: isGemm ? gemmAttributes() : convAttributesOf(region),
    docString: `one ${isGemm ? "linear layer" : "convolution"} for ${region.nodes.length} nodes of the training form`,
  };
  nodes.push(node);
  return { nodes, initializers, applied: { region, kernel, node: node.name, weight, bias } };
}

function gemmAttributes(): Map<string, Attribute> {
  return new Map<string, Attribute>([["transB", { type: "int", value: 1 }]]);
}

function convAttributesOf({ emission: e }: Region): Map<string, Attribute> {
  const ints = (value: readonly number[]): Attribute => ({ type: "ints", value });
  return new Map<string, Attribute>([
    ["kernel_shape", ints(e.kernelShape)],
    ["strides", ints(e.strides)],
    ["pads", ints([...e.beginPads, ...e.endPads])],
    ["dilations", ints(e.dilations)],
    ["group", { type: "int", value: e.group }],
  ]);
}

/** Emits a Slice when the convolution reads a cropped input; returns the value to read. */
function cropNode(
  region: Region,
  names: NameScope,
  opset: number,
  stem: string,
  nodes: Node[],
  initializers: Map<string, LazyTensor>,
): string {
  const { beginCrops, endCrops } = region.emission;
  const axes = beginCrops.flatMap((n, i) => (n > 0 || endCrops[i]! > 0 ? [i] : []));
  if (axes.length === 0) return region.input;
  const output = names.fresh(`${stem}.crop`);
  const bounds = {
    starts: axes.map((i) => beginCrops[i]!),
    // Positive ends beyond any size mean "to the end".
    ends: axes.map((i) => (endCrops[i]! > 0 ? -endCrops[i]! : 2 ** 31 - 1)),
    axes: axes.map((i) => i + 2),
  };
  const inputs = [region.input];
  const attributes = new Map<string, Attribute>();
  for (const [key, value] of Object.entries(bounds)) {
    if (opset < 10) {
      attributes.set(key, { type: "ints", value });
      continue;
    }
    const name = names.fresh(`${output}.${key}`);
    initializers.set(name, lazyTensor(int64Tensor([value.length], value)));
    inputs.push(name);
  }
  nodes.push({
    opType: "Slice",
    domain: "",
    name: names.fresh(`${stem}.crop`),
    inputs,
    outputs: [output],
    attributes,
  });
  return output;
}

/** The longest dotted prefix that the region's kernels share, e.g. `stage1.0`; else the output's name. */
function commonStem(region: Region): string {
  const kernels = region.nodes
    .filter(isLinearLayer)
    .map((node) => (node.inputs[1] ?? "").split("."));
  const first = kernels[0] ?? [];
  let length = 0;
  while (
    length < first.length - 1 &&
    kernels.every((parts) => parts.length - 1 > length && parts[length] === first[length])
  ) {
    length++;
  }
  const shared = first.slice(0, length).join(".");
  return shared === "" ? `${region.output}.fused` : `${shared}.fused`;
}
