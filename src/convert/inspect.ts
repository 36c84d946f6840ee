/** @file What a checkpoint or a model holds, as data: form, family, blocks with their branches, every tensor. */

import { weightShape } from "../algebra/emit.ts";
import type { DType } from "../core/dtype.ts";
import { isReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { elementCount, type LazyTensor, type Shape, type StateDict } from "../core/tensor.ts";
import type { FileFormat } from "../formats/detect.ts";
import { storedTensors } from "../ir/constant-nodes.ts";
import { commonName, describeBranches } from "../ir/describe-branches.ts";
import { type Dim, graphInputs, nodeLabel } from "../ir/graph.ts";
import { planReparam, type Region } from "../rewrite/plan.ts";
import { compileBlock } from "../zoo/compile-block.ts";
import type { RepVggArch, RepVggBlock } from "../zoo/nets/index.ts";
import { type BlockMatch, type PartFit, recognize } from "../zoo/recognize.ts";
import { knownLayout } from "./known-layout.ts";
import type { CheckpointFile, ModelFile, OnnxFile, ReadingOptions } from "./open.ts";
import { type TensorStatistics, tensorStatistics } from "./tensor-statistics.ts";

export interface InspectOptions extends TaskOptions {
  /** Read every tensor for its mean, range and NaN count. Default false: names and shapes alone are read. */
  readonly statistics?: boolean | undefined;
}

/** One multi-branch block, or the one convolution it became. */
export interface InspectedBlock {
  /** Module path without the shared prefix; for ONNX the region's output. */
  readonly name: string;
  readonly form: "training" | "deploy" | "mixed";
  /** e.g. `["3×3+bn", "1×1+bn", "bn"]`; empty in deploy form. */
  readonly branches: readonly string[];
  /** Shape of the fused weight, `[outC, inC/group, kH, kW]`. */
  readonly weightShape: Shape;
  readonly group: number | undefined;
  /** Input channels; undefined where the net is not known and the block's shapes leave it open. */
  readonly inC: number | undefined;
  /** Known for nets whose layout is known, and for ONNX. */
  readonly stride: number | undefined;
  /** Learned numbers and statistics it holds now. */
  readonly parameters: number;
}

export interface InspectedTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Present when asked for and the type has an order. */
  readonly statistics: TensorStatistics | undefined;
}

interface InspectionBase {
  readonly form: "training" | "deploy" | "mixed" | "unknown";
  readonly blocks: readonly InspectedBlock[];
  /** Numbers in all floating-point tensors. */
  readonly parameters: number;
  readonly tensors: readonly InspectedTensor[];
  readonly notes: readonly string[];
}

export interface CheckpointInspection extends InspectionBase {
  readonly kind: "checkpoint";
  readonly format: FileFormat;
  /** Path of the state dict inside the file. */
  readonly key: string;
  /** All state dicts of the file. */
  readonly candidates: readonly { readonly path: string; readonly tensors: number }[];
  /** Wrapper prefix that the names share. */
  readonly prefix: string;
  /** Block families found, by name. */
  readonly families: readonly string[];
  /** The net, where it is a RepVGG. */
  readonly arch: RepVggArch | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface OnnxInspection extends InspectionBase {
  readonly kind: "onnx";
  readonly opset: number | undefined;
  readonly producer: string;
  readonly inputs: readonly { readonly name: string; readonly shape: readonly Dim[] | undefined }[];
  readonly outputs: readonly {
    readonly name: string;
    readonly shape: readonly Dim[] | undefined;
  }[];
  /** How many nodes of each operator, most frequent first. */
  readonly operators: readonly { readonly opType: string; readonly count: number }[];
}

export type Inspection = CheckpointInspection | OnnxInspection;

/**
 * Describes an opened file. Without `statistics` no weight is read.
 *
 * @throws bad-data, aborted
 */
export async function inspectModel(
  file: ModelFile,
  options: InspectOptions = {},
): Promise<Inspection> {
  return file.kind === "checkpoint"
    ? await inspectCheckpoint(file, options)
    : await inspectOnnx(file, options);
}

async function inspectCheckpoint(
  file: CheckpointFile,
  options: InspectOptions,
): Promise<CheckpointInspection> {
  const { state, reading, prefix, checkpoint } = file;
  const { matches, partFits, problem } = recognizeIfClear(file);
  const layout = knownLayout(file);
  const short = (name: string): string =>
    name.startsWith(prefix) ? name.slice(prefix.length) : name;
  const blocks = matches.map((match) => {
    const name = short(match.prefix);
    return inspectBlock(match, state, reading, name, layout.blocks.get(name));
  });
  const forms = new Set(blocks.map((block) => block.form));
  return {
    kind: "checkpoint",
    format: file.format,
    key: file.key,
    candidates: checkpoint.candidates.map(({ path, tensors }) => ({ path, tensors })),
    prefix,
    families: [...new Set(matches.map((match) => match.family.name))],
    arch: layout.arch,
    metadata: checkpoint.metadata,
    form: forms.size === 0 ? "unknown" : forms.size === 1 ? blocks[0]!.form : "mixed",
    blocks,
    parameters: countNumbers(state.tensors),
    tensors: await inspectTensors(state.tensors, options),
    notes: [
      ...(layout.problem === undefined ? [] : [layout.problem]),
      ...(problem === undefined ? [] : [problem]),
      ...partFits.map(
        (fit) => `${fit.prefix}: looks like a ${fit.kind} of ${fit.family}, but is not complete`,
      ),
    ],
  };
}

/** Where families cannot be told apart, that is what there is to say; the rest of the file is still shown. */
function recognizeIfClear({ state, reading }: CheckpointFile): {
  matches: readonly BlockMatch[];
  partFits: readonly PartFit[];
  problem?: string;
} {
  try {
    return recognize(state, reading);
  } catch (error) {
    if (!isReparamError(error, "ambiguous")) throw error;
    return { matches: [], partFits: [], problem: error.message };
  }
}

function inspectBlock(
  match: BlockMatch,
  state: StateDict,
  reading: ReadingOptions,
  name: string,
  known: RepVggBlock | undefined,
): InspectedBlock {
  const parameters = match.keys.reduce((sum, key) => {
    const tensor = state.tensors.get(key);
    return tensor && isParameter(tensor) ? sum + elementCount(tensor.shape) : sum;
  }, 0);
  const base = { name, form: match.form, stride: known?.stride, parameters };
  if (match.form === "deploy") {
    const weight = state.tensors.get(match.deployKeys.weight)?.shape ?? [];
    return { ...base, inC: known?.inC, branches: [], weightShape: weight, group: known?.group };
  }
  const block = compileBlock(match, state, reading);
  const { graph, input, output, group, inChannels, outChannels } = block;
  const kernel = largestKernel([...graph.initializers.values()]);
  const spatial = block.weightRank === 4 ? kernel : [];
  const branches = describeBranches(graph, input, output);
  // A branch without a convolution keeps the channels.
  const keepsChannels = branches.some((branch) => !/\d×|conv/.test(branch));
  return {
    ...base,
    branches,
    inC: known?.inC ?? (keepsChannels || group > 1 ? inChannels : undefined),
    weightShape: [outChannels, inChannels / group, ...spatial],
    // Without the net around it, a block's shapes tell the smallest group count that fits, not the net's.
    group: known?.group ?? group,
  };
}

/** The fused kernel is at least as large as the largest branch's, and in all known families no larger. */
function largestKernel(constants: readonly LazyTensor[]): number[] {
  let [height, width] = [1, 1];
  for (const { shape } of constants) {
    if (shape.length !== 4) continue;
    height = Math.max(height, shape[2]!);
    width = Math.max(width, shape[3]!);
  }
  return [height, width];
}

async function inspectOnnx(file: OnnxFile, options: InspectOptions): Promise<OnnxInspection> {
  const { model } = file;
  const { graph } = model;
  const plan = await planReparam(model, { signal: options.signal });
  const constants = storedTensors(graph);
  const names = regionNames(plan.regions);
  const blocks = plan.regions.map((region, i): InspectedBlock => {
    const { emission } = region;
    const inside = { ...graph, initializers: constants, nodes: region.nodes };
    const branches = describeBranches(inside, region.input, region.output);
    return {
      name: names[i]!,
      inC: emission.inC,
      form: branches.length > 1 || branches[0]?.includes("∥") ? "training" : "deploy",
      branches,
      weightShape: weightShape(emission),
      group: emission.group,
      stride: emission.strides[0],
      parameters: region.before.parameters,
    };
  });
  const counts = new Map<string, number>();
  for (const { opType } of graph.nodes) counts.set(opType, (counts.get(opType) ?? 0) + 1);
  const facts = ({ name, shape }: { name: string; shape: readonly Dim[] | undefined }) => ({
    name,
    shape,
  });
  return {
    kind: "onnx",
    form: blocks.some((block) => block.form === "training") ? "training" : "deploy",
    opset: model.opsets.get(""),
    producer: [model.producerName, model.producerVersion].filter((part) => part !== "").join(" "),
    inputs: graphInputs(graph).map(facts),
    outputs: graph.outputs.map(facts),
    operators: [...counts]
      .map(([opType, count]) => ({ opType, count }))
      .sort((a, b) => b.count - a.count),
    blocks,
    parameters: countNumbers(constants),
    tensors: await inspectTensors(constants, options),
    notes: [],
  };
}

/** What each region's nodes are called together; the last node's own name where that is not unique. */
function regionNames(regions: readonly Region[]): string[] {
  const shared = regions.map((region) => commonName(region.nodes));
  return regions.map((region, i) => {
    const name = shared[i]!;
    const unique = name !== "" && shared.indexOf(name) === shared.lastIndexOf(name);
    return unique ? name : nodeLabel(region.nodes.at(-1)!);
  });
}

function isParameter({ dtype }: LazyTensor): boolean {
  return /^(b?float|complex)/.test(dtype);
}

function countNumbers(tensors: ReadonlyMap<string, LazyTensor>): number {
  let total = 0;
  for (const tensor of tensors.values())
    if (isParameter(tensor)) total += elementCount(tensor.shape);
  return total;
}

async function inspectTensors(
  tensors: ReadonlyMap<string, LazyTensor>,
  options: InspectOptions,
): Promise<InspectedTensor[]> {
  const result: InspectedTensor[] = [];
  for (const [name, tensor] of tensors) {
    options.onProgress?.({ label: name, done: result.length, total: tensors.size });
    const statistics = options.statistics ? await tensorStatistics(tensor, options) : undefined;
    result.push({ name, dtype: tensor.dtype, shape: tensor.shape, statistics });
  }
  return result;
}
