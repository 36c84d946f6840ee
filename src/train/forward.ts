/** @file The forward pass inside a training graph: the model's nodes, with BatchNormalization in training mode. */

import { decodeFloat64, encodeFloat64, isFloatDType } from "../core/dtype.ts";
import { badData, ReparamError } from "../core/errors.ts";
import {
  elementCount,
  formatShape,
  type LazyTensor,
  lazyTensor,
  readFloat64,
  type Shape,
} from "../core/tensor.ts";
import { constantTensor } from "../ir/constant-nodes.ts";
import { floatAttribute, isOp, type Model, type Node, nodeLabel } from "../ir/graph.ts";
import { capturedValues } from "../ir/index-graph.ts";
import { conv } from "./convolution.ts";
import { activeValues, type TapeNode } from "./differentiate.ts";
import { type DropoutMask, dropoutRatio } from "./dropout.ts";
import type { Emitter } from "./emitter.ts";
import { batchNormForward, frozenBatchNormRule } from "./gradients/batch-normalization.ts";
import { resolveConv } from "./gradients/conv.ts";
import { GRADIENT_RULES } from "./gradients/index.ts";
import { maxPoolGradient } from "./gradients/pool.ts";
import { MAX_CONSTANT_ELEMENTS } from "./gradients/rule.ts";
import { isTrainedBatchNorm } from "./parameters.ts";
import { add, mul, reshape } from "./vocabulary.ts";

/** What one BatchNormalization saw of the batch. */
export interface BatchStatistics {
  /** Names of the running statistics in the model. */
  readonly meanName: string;
  readonly varianceName: string;
  /** Values in the graph, `[channels]`; the variance is biased. */
  readonly mean: string;
  readonly variance: string;
  readonly count: number;
}

export interface Forward {
  readonly tape: readonly TapeNode[];
  readonly statistics: readonly BatchStatistics[];
  readonly constants: ReadonlyMap<string, readonly number[]>;
  readonly dropouts: readonly DropoutMask[];
  /** The emitter's value for a value of the model. */
  value(name: string): string;
}

export interface ForwardOptions {
  readonly model: Model;
  /** Shapes of the model's values, all known (`inferStaticShapes`). */
  readonly shapes: ReadonlyMap<string, Shape>;
  /** The model's inputs and trained weights as values of the emitter. */
  readonly bound: ReadonlyMap<string, string>;
  /** Names of the trained weights. */
  readonly trained: ReadonlySet<string>;
  /** The output to train on; what it does not depend on is left out. */
  readonly output: string;
}

/** Nodes the outputs depend on, in order. */
export function neededNodes(model: Model, ...outputs: string[]): Node[] {
  const wanted = new Set(outputs);
  const kept: Node[] = [];
  for (const node of [...model.graph.nodes].reverse()) {
    if (!node.outputs.some((value) => wanted.has(value))) continue;
    kept.push(node);
    for (const input of node.inputs) wanted.add(input);
    for (const input of capturedValues(node)) wanted.add(input);
  }
  return kept.reverse();
}

/**
 * Names every operator that stands between a trained weight and the output and has no gradient rule, all at once.
 * Throws `refused`.
 */
export function assertDifferentiable(
  model: Model,
  output: string,
  trained: ReadonlySet<string>,
): void {
  const tape = neededNodes(model, output).map((node) => ({ node }));
  const active = activeValues(tape, trained);
  const missing = tape.filter(
    ({ node }) => node.inputs.some((input) => active.has(input)) && !hasRule(node),
  );
  if (missing.length === 0) return;
  const operators = [...new Set(missing.map(({ node }) => node.opType))].join(", ");
  const first = missing.slice(0, 5).map(({ node }) => nodeLabel(node));
  throw new ReparamError("refused", {
    where: "training",
    what: `no gradient rule for ${operators} (${missing.length} node${missing.length === 1 ? "" : "s"}: ${first.join(", ")}${missing.length > 5 ? ", …" : ""})`,
    fix: "Freeze everything up to them, or export the model without them",
  });
}

function hasRule(node: Node): boolean {
  return (
    isOp(node, node.opType) &&
    (GRADIENT_RULES.has(node.opType) || ["BatchNormalization", "MaxPool"].includes(node.opType))
  );
}

export async function emitForward(e: Emitter, options: ForwardOptions): Promise<Forward> {
  const { model, shapes, trained, output } = options;
  const values = new Map(options.bound);
  const constants = new Map<string, readonly number[]>();
  const statistics: BatchStatistics[] = [];
  const tape: TapeNode[] = [];
  const dropouts: DropoutMask[] = [];
  const nodes = neededNodes(model, output);

  const used = new Set(nodes.flatMap((node) => node.inputs));
  for (const name of used) {
    const initializer = model.graph.initializers.get(name);
    if (!initializer || values.has(name)) continue;
    const taken = e.constant(name, await inDType(initializer, e));
    values.set(name, taken);
    const decoded = await decodeSmall(initializer);
    if (decoded) constants.set(taken, decoded);
  }
  const emitted = (name: string): string => {
    if (name === "") return "";
    const value = values.get(name);
    if (value === undefined) throw badData(`value ${name}`, "nothing makes it");
    return value;
  };
  const shapeOf = (name: string): Shape => {
    const shape = shapes.get(name);
    if (!shape)
      throw badData(`value ${name}`, "its shape cannot be inferred", "Give a fixed input shape");
    return shape;
  };
  const copy = (node: Node, outputs: readonly string[]): Node => {
    const made = e.nodes(
      node.opType,
      node.inputs.map(emitted),
      outputs.map((name, i) =>
        name === "" ? shapeOf(outputs[0]!) : shapeOf(node.outputs[i] ?? name),
      ),
      Object.fromEntries(node.attributes),
      { name: outputs[0]!, domain: node.domain },
    );
    for (const [i, name] of node.outputs.entries()) if (name !== "") values.set(name, made[i]!);
    return { ...node, inputs: node.inputs.map(emitted), outputs: made };
  };

  /** Through `conv`, which may choose the blocked kernel; the bias is then an addition of its own. */
  const emitConv = (node: Node): Node => {
    const [x = "", weight = "", bias = ""] = node.inputs.map(emitted);
    const options = resolveConv(node, e.shape(x), e.shape(weight));
    let y = conv(e, x, weight, options);
    if (bias !== "") {
      const perChannel = e.shape(y).map((n, axis) => (axis === 1 ? n : 1));
      y = add(e, y, reshape(e, bias, perChannel));
    }
    values.set(node.outputs[0]!, y);
    return { ...node, inputs: node.inputs.map(emitted), outputs: [y] };
  };

  /** A product with a mask in place of the Dropout; undefined where nothing is dropped. */
  const emitDropout = (node: Node): Node | undefined => {
    const ratio = dropoutRatio(node, (name) => constants.get(emitted(name)), used);
    if (ratio === 0) return undefined;
    const [x = ""] = node.inputs.map(emitted);
    const [y = ""] = node.outputs;
    const shape = e.shape(x);
    const mask = e.input(`dropout_mask_${dropouts.length}`, e.dtype, shape);
    dropouts.push({ input: mask, shape, ratio });
    const product = mul(e, x, mask);
    values.set(y, product);
    return { ...node, opType: "Mul", inputs: [x, mask], outputs: [product], attributes: new Map() };
  };

  for (const node of nodes) {
    assertVectors(node, shapeOf);
    const masked = isOp(node, "Dropout") ? emitDropout(node) : undefined;
    if (masked) tape.push({ node: masked, gradient: GRADIENT_RULES.get("Mul") });
    else if (isTrainedBatchNorm(node, trained)) {
      const [x = "", gamma = "", beta = "", meanName = "", varianceName = ""] = node.inputs;
      const epsilon = floatAttribute(node, "epsilon", 1e-5);
      const made = batchNormForward(e, emitted(x), emitted(gamma), emitted(beta), epsilon);
      values.set(node.outputs[0]!, made.y);
      statistics.push({ ...made, meanName, varianceName });
      const inputs = [emitted(x), emitted(gamma), emitted(beta)];
      tape.push({ node: { ...node, inputs, outputs: [made.y] }, gradient: made.gradient });
    } else if (isOp(node, "Conv") && e.channelBlock !== undefined) {
      tape.push({ node: emitConv(node), gradient: GRADIENT_RULES.get("Conv") });
    } else if (isOp(node, "MaxPool")) {
      const [y = ""] = node.outputs;
      const made = e.nodes(
        "MaxPool",
        node.inputs.map(emitted),
        [shapeOf(y), shapeOf(y)],
        Object.fromEntries(node.attributes),
        { name: y },
      );
      values.set(y, made[0]!);
      tape.push({
        node: { ...node, inputs: node.inputs.map(emitted), outputs: [made[0]!] },
        gradient: (context) => [maxPoolGradient(context, made[1]!)],
      });
    } else {
      const made = copy(node, node.outputs);
      const gradient = isOp(node, "BatchNormalization")
        ? frozenBatchNormRule(floatAttribute(node, "epsilon", 1e-5))
        : GRADIENT_RULES.get(node.opType);
      tape.push({ node: made, gradient });
      const value = constantTensor(node);
      const decoded = value && (await decodeSmall(value));
      if (decoded) constants.set(made.outputs[0]!, decoded);
    }
  }
  return { tape, statistics, constants, dropouts, value: emitted };
}

/** One number per channel in what a node adds or scales by: shape inference looks at outputs only. */
function assertVectors(node: Node, shapeOf: (name: string) => Shape): void {
  const isConv = isOp(node, "Conv");
  if (!isConv && !isOp(node, "BatchNormalization")) return;
  const [value = "", weight = ""] = node.inputs;
  const channels = isConv ? shapeOf(weight)[0] : shapeOf(value)[1];
  for (const name of node.inputs.slice(isConv ? 2 : 1)) {
    if (name === "") continue;
    const shape = shapeOf(name);
    if (shape.length === 1 && shape[0] === channels) continue;
    throw badData(
      `node ${nodeLabel(node)} (${node.opType})`,
      `${name} has shape ${formatShape(shape)}, expected [${channels}]`,
    );
  }
}

/** A float constant in the graph's dtype; anything else as it is. */
async function inDType(initializer: LazyTensor, e: Emitter): Promise<LazyTensor> {
  const { dtype, shape } = initializer;
  if (!isFloatDType(dtype) || dtype === e.dtype) return initializer;
  const values = decodeFloat64(await initializer.read(), dtype);
  return lazyTensor({ dtype: e.dtype, shape, bytes: encodeFloat64(values, e.dtype) });
}

async function decodeSmall(value: LazyTensor): Promise<readonly number[] | undefined> {
  if (elementCount(value.shape) > MAX_CONSTANT_ELEMENTS || value.dtype.startsWith("complex")) {
    return undefined;
  }
  if (value.dtype === "int64") {
    // INT64_MAX and INT64_MIN stand for "to the end" in Slice; as numbers they only need to stay huge.
    const bytes = (await value.read()).slice();
    return Array.from(new BigInt64Array(bytes.buffer), Number);
  }
  return Array.from(await readFloat64(value));
}
