/**
 * @file A model as the same function in float64: the reference that rounding is measured against.
 *
 * Every float value becomes `double`: parameters are cast up exactly, casts between float types vanish, operators
 * without a double kernel are rewritten (`lowering/rules.ts`). Integer and shape computations stay. Values keep their
 * names, so taps work on the lowered model too.
 */

import { isFloatDType } from "../core/dtype.ts";
import { internalError } from "../core/errors.ts";
import { elementCount, type LazyTensor, type Shape } from "../core/tensor.ts";
import { storedTensors } from "../ir/constant-nodes.ts";
import { graphInputs, isOp, type Model, type Node, type ValueInfo } from "../ir/graph.ts";
import { createNameScope } from "../ir/names.ts";
import { LoweringContext, type Parameter, refusal } from "./lowering/context.ts";
import { plainLayout } from "./lowering/layout.ts";
import { floatOutputs, isSupported, isUpgrade, MAKES_FLOATS, ruleFor } from "./lowering/rules.ts";
import { copy } from "./lowering/upgrade.ts";
import { observe } from "./observe.ts";
import { parameterTensor } from "./parameter-data.ts";
import type { Runtime } from "./session.ts";

/** The opset lowered graphs are written in, if the model's own is not later. */
const LOWEST_OPSET = 17;

/** A lowered model, with its float parameters apart. */
export interface LoweredModel {
  /** Without the parameters: `model.graph.initializers` holds everything else. */
  readonly model: Model;
  /** By name in the lowered graph. */
  readonly parameters: ReadonlyMap<string, Parameter>;
}

/**
 * The float64 form of `model` for the given input shapes (inputs with fixed shapes may be left out).
 * Throws `refused`, with the operator and node, for what has no float64 form.
 */
export async function lowerToFloat64(
  model: Model,
  runtime: Runtime,
  inputShapes: ReadonlyMap<string, Shape>,
): Promise<Model> {
  const lowered = await lowerWithParameters(model, runtime, inputShapes);
  const initializers = new Map(lowered.model.graph.initializers);
  for (const [name, parameter] of lowered.parameters) {
    initializers.set(name, parameterTensor(parameter));
  }
  return { ...lowered.model, graph: { ...lowered.model.graph, initializers } };
}

export async function lowerWithParameters(
  model: Model,
  runtime: Runtime,
  inputShapes: ReadonlyMap<string, Shape>,
): Promise<LoweredModel> {
  const sourceOpset = model.opsets.get("") ?? model.opsets.get("ai.onnx") ?? 1;
  const { graph } = model;
  const constants = constantsOf(model);
  const nodes = graph.nodes.filter((node) => !isOp(node, "Constant"));
  const floats = classify(model, nodes, constants);
  const touchesFloats = (node: Node): boolean =>
    [...node.inputs, ...node.outputs].some((name) => floats.has(name));
  const planned = nodes.map((node) => {
    assertKnownTypes(node);
    const lowers = touchesFloats(node) || isUpgrade(node, sourceOpset);
    if (lowers) assertSupported(node);
    return { node, rule: lowers ? ruleFor(node, sourceOpset) : undefined };
  });
  const wanted = (names: readonly (string | undefined)[]): string[] =>
    names.filter((name) => name !== undefined && name !== "" && !constants.has(name)) as string[];
  const observed = await observe(
    model,
    runtime,
    inputShapes,
    new Set(planned.flatMap(({ node, rule }) => wanted(rule?.shapes?.(node) ?? []))),
    new Set(planned.flatMap(({ node, rule }) => wanted(rule?.values?.(node) ?? []))),
  );
  const opset = Math.max(LOWEST_OPSET, sourceOpset);
  const ctx = new LoweringContext({
    opset,
    sourceOpset,
    initializers: constants,
    names: createNameScope(graph),
    observed,
  });
  for (const name of floats) ctx.markFloat(name);
  for (const { node, rule } of planned) {
    if (rule) await rule.lower(ctx, node);
    else copy(ctx, node);
  }
  const { parameters, initializers } = usedConstants(ctx, constants, graph.outputs);
  const lowered: Model = {
    ...model,
    irVersion: Math.max(model.irVersion, 8),
    opsets: new Map([...model.opsets, ["", opset]]),
    graph: {
      name: graph.name,
      inputs: graphInputs(graph).map((info) => raised(info, floats)),
      outputs: graph.outputs.map((info) => ({ ...raised(info, floats), shape: undefined })),
      nodes: ctx.nodes,
      initializers,
      valueInfos: new Map(),
    },
  };
  return { model: lowered, parameters };
}

/** Initializers and the results of `Constant` nodes, which have to be numbers. */
function constantsOf(model: Model): Map<string, LazyTensor> {
  const constants = storedTensors(model.graph);
  for (const node of model.graph.nodes) {
    if (!isOp(node, "Constant") || constants.has(node.outputs[0]!)) continue;
    throw refusal(node, "its value is neither a tensor nor a number");
  }
  return constants;
}

/** Every float value of the graph by name. */
function classify(
  model: Model,
  nodes: readonly Node[],
  constants: ReadonlyMap<string, LazyTensor>,
): Set<string> {
  const floats = new Set<string>();
  const isFloat = (name: string): boolean => floats.has(name);
  for (const [name, value] of constants) if (isFloatDType(value.dtype)) floats.add(name);
  for (const input of graphInputs(model.graph)) {
    if (input.dtype && input.dtype !== "string" && isFloatDType(input.dtype))
      floats.add(input.name);
  }
  for (const node of nodes) {
    floatOutputs(node, isFloat).forEach((is, i) => {
      if (is && node.outputs[i] !== "") floats.add(node.outputs[i]!);
    });
  }
  return floats;
}

/** Refuses nodes whose outputs may be floats although no input is: nothing else would notice them. */
function assertKnownTypes(node: Node): void {
  if (node.domain !== "" && node.domain !== "ai.onnx") {
    throw refusal(node, `the operator domain ${JSON.stringify(node.domain)} is not known here`);
  }
  for (const attribute of node.attributes.values()) {
    if (attribute.type === "graph")
      throw refusal(node, "it is control flow, with graphs of its own inside");
  }
  if (MAKES_FLOATS.has(node.opType)) throw refusal(node, "it makes floats out of other types");
}

function assertSupported(node: Node): void {
  if (isSupported(node.opType)) return;
  throw refusal(node, "the operator has no double kernel and no rewriting here");
}

/** Splits the constants that the lowered nodes read into float parameters and the rest. */
function usedConstants(
  ctx: LoweringContext,
  constants: ReadonlyMap<string, LazyTensor>,
  outputs: readonly ValueInfo[],
): { parameters: Map<string, Parameter>; initializers: Map<string, LazyTensor> } {
  const parameters = new Map(ctx.parameters);
  const initializers = new Map(ctx.constants);
  const used = new Set(ctx.nodes.flatMap((node) => node.inputs));
  for (const output of outputs) used.add(output.name);
  for (const name of used) {
    const value = constants.get(name);
    if (!value) continue;
    if (isFloatDType(value.dtype)) {
      parameters.set(name, { source: name, value, layout: plainLayout(value.shape) });
    } else initializers.set(name, value);
  }
  for (const [name, { value, layout }] of parameters) {
    if (elementCount(layout.shape) === elementCount(value.shape)) continue;
    throw internalError(`lowering of ${name}`, "the layout does not cover the parameter");
  }
  return { parameters, initializers };
}

function raised(info: ValueInfo, floats: ReadonlySet<string>): ValueInfo {
  return floats.has(info.name) ? { name: info.name, dtype: "float64", shape: info.shape } : info;
}
