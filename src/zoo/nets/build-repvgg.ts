/**
 * @file The ONNX graph of a RepVGG in either form.
 *
 * Nodes and initializers carry the checkpoint's own names (`stage1.0.rbr_dense.conv` reads
 * `stage1.0.rbr_dense.conv.weight`), so people and the verifier can match a graph with its checkpoint. Branches are added
 * in PyTorch's order, (dense + 1×1) + identity. SE pools globally: the origin pools with the width as window, which is
 * the same on square maps and wrong or an error on others.
 */

import { type FloatDType, isFloatDType } from "../../core/dtype.ts";
import { assertShape, badData, ReparamError } from "../../core/errors.ts";
import type { Shape, StateDict } from "../../core/tensor.ts";
import { createGraphBuilder, type GraphBuilder } from "../../ir/builder.ts";
import type { Model } from "../../ir/graph.ts";
import { castTensor } from "./cast-tensor.ts";
import {
  auxStages,
  type RepVggArch,
  type RepVggBlock,
  type RepVggForm,
  repVggBlocks,
} from "./repvgg-arch.ts";
import { batchNormEpsilon } from "./repvgg-modules.ts";

export interface BuildRepVggOptions {
  /** BatchNorm epsilon where the checkpoint states none. Default 1e-5. */
  readonly epsilon?: number;
  /** Input sizes; a missing one is dynamic. */
  readonly input?: {
    readonly height?: number;
    readonly width?: number;
    readonly batch?: number;
  };
  /** Version of the ONNX standard domain, 7 to 22. Default 17. */
  readonly opset?: number;
  /** Element type of the graph; weights of other types are converted as they are read. Default `float32`. */
  readonly dtype?: FloatDType;
  /** Add the auxiliary classifiers of a RepVGGplus training form as outputs `<stage>_aux`. Default false. */
  readonly aux?: boolean;
  /** For messages: the file. Default `checkpoint`. */
  readonly where?: string;
}

const OPSET_RANGE = [7, 22] as const;

/** What the parts of one graph share. */
interface Context {
  readonly g: GraphBuilder;
  /** Adds the checkpoint's tensor as initializer and returns its name. */
  readonly weight: (key: string, shape: Shape) => string;
  readonly epsilon: (path: string) => number;
}

/**
 * The graph of `arch` with the weights of `state`: input `x` `[batch, inputChannels, height, width]`, output `y`
 * `[batch, classes]`. Form `mixed` takes each block as the state has it (branches before a fused kernel).
 *
 * @throws `bad-data` if a tensor is missing or has another shape; `usage` for an opset outside 7 … 22, and for `aux`
 * where there is no auxiliary head.
 */
export function buildRepVgg(
  arch: RepVggArch,
  form: RepVggForm,
  state: StateDict,
  options: BuildRepVggOptions = {},
): Model {
  const { opset = 17, dtype = "float32", aux = false, input = {}, where = "checkpoint" } = options;
  checkOptions(arch, form, opset, aux);
  const g = createGraphBuilder({ opset, name: arch.name ?? "RepVGG" });
  const context: Context = {
    g,
    epsilon: (path) => batchNormEpsilon(state, path, options.epsilon),
    weight: (key, shape) => {
      const found = state.tensors.get(key);
      if (!found) throw badData(`${where}: ${key}`, `missing, expected in the ${form} form`);
      assertShape(`${where}: ${key}`, found.shape, shape);
      if (!isFloatDType(found.dtype)) {
        throw badData(`${where}: ${key}`, `dtype is ${found.dtype}, expected a float type`);
      }
      return g.initializer(key, castTensor(found, dtype));
    },
  };
  const batch = input.batch ?? "batch";
  let value = g.input("x", dtype, [
    batch,
    arch.inputChannels,
    input.height ?? "height",
    input.width ?? "width",
  ]);
  const auxOutputs: string[] = [];
  for (const block of repVggBlocks(arch)) {
    const { prefix } = block;
    const training =
      form === "training" ||
      (form === "mixed" && state.tensors.has(`${prefix}.rbr_dense.conv.weight`));
    value = training ? addBranches(context, block, value) : addFused(context, block, value);
    value = addActivation(context, block, arch.se, value);
    if (aux && block.endsStage !== undefined && auxStages(arch).includes(block.endsStage)) {
      auxOutputs.push(
        addAuxHead(context, `${block.endsStage}_aux`, value, block.outC, arch.classes),
      );
    }
  }
  const lastC = arch.stageWidths.at(-1) ?? 0;
  const y = addClassifier(context, "", "linear", value, [arch.classes, lastC], "y");
  for (const output of [y, ...auxOutputs]) g.output(output, dtype, [batch, arch.classes]);
  return g.build();
}

function checkOptions(arch: RepVggArch, form: RepVggForm, opset: number, aux: boolean): void {
  const [low, high] = OPSET_RANGE;
  if (!Number.isInteger(opset) || opset < low || opset > high) {
    throw new ReparamError("usage", {
      where: "buildRepVgg: opset",
      what: `${opset}, expected ${low} to ${high}`,
    });
  }
  if (aux && (form === "deploy" || !arch.auxHeads)) {
    throw new ReparamError("usage", {
      where: "buildRepVgg: aux",
      what: "this net has no auxiliary heads, expected a RepVGGplus in training form",
    });
  }
}

/** dense, 1×1 and identity, each with its BatchNorm, summed. */
function addBranches({ g, weight, epsilon }: Context, block: RepVggBlock, x: string): string {
  const { prefix, inC, outC, stride, group, identity } = block;
  const branch = (name: string, k: number): string => {
    const path = `${prefix}.${name}`;
    const w = weight(`${path}.conv.weight`, [outC, inC / group, k, k]);
    const conv = g.node("Conv", [x, w], convAttributes(k, stride, group), `${path}.conv`);
    return batchNorm({ g, weight, epsilon }, `${path}.bn`, conv, outC);
  };
  const dense = branch("rbr_dense", 3);
  const pointwise = branch("rbr_1x1", 1);
  const sum = g.node("Add", [dense, pointwise], {}, `${prefix}.add`);
  if (!identity) return sum;
  const kept = batchNorm({ g, weight, epsilon }, `${prefix}.rbr_identity`, x, outC);
  return g.node("Add", [sum, kept], {}, `${prefix}.add_identity`);
}

/** The one convolution of the deploy form. */
function addFused({ g, weight }: Context, block: RepVggBlock, x: string): string {
  const { prefix, inC, outC, stride, group } = block;
  const path = `${prefix}.rbr_reparam`;
  const w = weight(`${path}.weight`, [outC, inC / group, 3, 3]);
  const b = weight(`${path}.bias`, [outC]);
  return g.node("Conv", [x, w, b], convAttributes(3, stride, group), path);
}

/** ReLU, with the SE before or after it. */
function addActivation(
  context: Context,
  block: RepVggBlock,
  position: RepVggArch["se"],
  x: string,
): string {
  const relu = (value: string): string =>
    context.g.node("Relu", [value], {}, `${block.prefix}.nonlinearity`);
  if (!block.se) return relu(x);
  const { prefix, hiddenC } = block.se;
  return position === "before-relu"
    ? relu(addSe(context, prefix, x, block.outC, hiddenC))
    : addSe(context, prefix, relu(x), block.outC, hiddenC);
}

/** x · sigmoid(up(relu(down(mean of x over height and width)))) */
function addSe(
  { g, weight }: Context,
  prefix: string,
  x: string,
  outC: number,
  hiddenC: number,
): string {
  const pointwise = (name: string, value: string, shape: Shape): string => {
    const w = weight(`${prefix}.${name}.weight`, shape);
    const b = weight(`${prefix}.${name}.bias`, [shape[0] ?? 0]);
    return g.node("Conv", [value, w, b], convAttributes(1, 1, 1), `${prefix}.${name}`);
  };
  const pooled = g.node("GlobalAveragePool", [x], {}, `${prefix}.pool`);
  const down = pointwise("down", pooled, [hiddenC, outC, 1, 1]);
  const relu = g.node("Relu", [down], {}, `${prefix}.relu`);
  const up = pointwise("up", relu, [outC, hiddenC, 1, 1]);
  const gate = g.node("Sigmoid", [up], {}, `${prefix}.sigmoid`);
  return g.node("Mul", [x, gate], {}, prefix);
}

/** The auxiliary classifier of RepVGGplus: 3×3 convolution with stride 2, BatchNorm, ReLU, then as the main head. */
function addAuxHead(
  context: Context,
  prefix: string,
  x: string,
  channels: number,
  classes: number,
): string {
  const { g, weight } = context;
  const w = weight(`${prefix}.0.conv.weight`, [channels, channels, 3, 3]);
  const conv = g.node("Conv", [x, w], convAttributes(3, 2, 1), `${prefix}.0.conv`);
  const bn = batchNorm(context, `${prefix}.0.bn`, conv, channels);
  const relu = g.node("Relu", [bn], {}, `${prefix}.0.relu`);
  return addClassifier(context, `${prefix}.`, `${prefix}.3`, relu, [classes, channels], prefix);
}

/** Global average, then `weight · features + bias`, weight `[classes, channels]`. */
function addClassifier(
  { g, weight }: Context,
  scope: string,
  path: string,
  x: string,
  shape: Shape,
  output: string,
): string {
  const pooled = g.node("GlobalAveragePool", [x], {}, `${scope}gap`);
  const features = g.node("Flatten", [pooled], { axis: 1 }, `${scope}flatten`);
  const w = weight(`${path}.weight`, shape);
  const b = weight(`${path}.bias`, [shape[0] ?? 0]);
  return g.node("Gemm", [features, w, b], { transB: 1 }, output);
}

function batchNorm(
  { g, weight, epsilon }: Context,
  path: string,
  x: string,
  channels: number,
): string {
  const stats = ["weight", "bias", "running_mean", "running_var"].map((name) =>
    weight(`${path}.${name}`, [channels]),
  );
  return g.node("BatchNormalization", [x, ...stats], { epsilon: { float: epsilon(path) } }, path);
}

function convAttributes(
  k: number,
  stride: number,
  group: number,
): Record<string, number | number[]> {
  const pad = (k - 1) / 2;
  return {
    dilations: [1, 1],
    group,
    kernel_shape: [k, k],
    pads: [pad, pad, pad, pad],
    strides: [stride, stride],
  };
}
