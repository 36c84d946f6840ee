/** @file The convolutions of a graph in order, each with its whole window and what follows it. */

import { readFloat64 } from "../core/tensor.ts";
import { convAttributes } from "../ir/conv-attributes.ts";
import { isOp, type Model, type Node, nodeLabel, stringAttribute } from "../ir/graph.ts";
import { type GraphIndex, indexGraph } from "../ir/index-graph.ts";
import { type Constant, collectConstants } from "../rewrite/constants.ts";
import { fusedModel } from "./known-model.ts";

export interface Layer {
  readonly name: string;
  readonly outC: number;
  /** `[outC, inC/group, ...kernelShape]` */
  readonly kernel: readonly number[];
  readonly group: number;
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Begins, then ends; a Pad before the convolution included. */
  readonly pads: readonly number[];
  readonly border: "zero" | "reflect" | "edge" | "wrap";
  /** Name of the activation after it (before the next linear operator); `""` for none. */
  readonly activation: string;
  /** Where a squeeze-and-excitation stands relative to the activation. */
  readonly squeeze: "none" | "before" | "after";
}

/** Values followed from one convolution: activation and SE are at most a handful of nodes away. */
const MAX_STEPS = 8;

export async function describeLayers(model: Model): Promise<Layer[]> {
  const fused = await fusedModel(model);
  const index = indexGraph(fused.graph);
  const constants = await collectConstants(fused.graph, fused.opsets.get("") ?? 0);
  const layers: Layer[] = [];
  for (const node of fused.graph.nodes) {
    if (!isOp(node, "Conv") || readsPooled(node, index)) continue;
    const weight = constants.get(node.inputs[1] ?? "");
    if (weight) layers.push(await layerOf(node, weight, index, constants));
  }
  return layers;
}

async function layerOf(
  node: Node,
  weight: Constant,
  index: GraphIndex,
  constants: ReadonlyMap<string, Constant>,
): Promise<Layer> {
  const { shape } = weight.tensor;
  const window = convAttributes(node, shape, nodeLabel(node));
  const rank = window.kernelShape.length;
  const padding = await padBefore(node, rank, index, constants);
  const own = [...window.beginPads, ...window.endPads];
  return {
    name: nodeLabel(node),
    outC: shape[0] ?? 0,
    kernel: shape,
    group: window.group,
    strides: window.strides,
    dilations: window.kernelShape.every((k) => k === 1)
      ? window.kernelShape.map(() => 1)
      : window.dilations,
    pads: own.map((pad, i) => pad + (padding?.pads[i] ?? 0)),
    border: padding?.border ?? "zero",
    ...behind(node.outputs[0]!, index, constants),
  };
}

const BORDERS: Readonly<Record<string, Layer["border"]>> = {
  constant: "zero",
  reflect: "reflect",
  edge: "edge",
  wrap: "wrap",
};

async function padBefore(
  node: Node,
  rank: number,
  index: GraphIndex,
  constants: ReadonlyMap<string, Constant>,
): Promise<{ pads: number[]; border: Layer["border"] } | undefined> {
  const pad = index.producer(node.inputs[0]!);
  if (!pad || !isOp(pad, "Pad")) return undefined;
  const attribute = pad.attributes.get("pads");
  const amounts = constants.get(pad.inputs[1] ?? "");
  const all =
    attribute?.type === "ints"
      ? [...attribute.value]
      : amounts
        ? [...(await readFloat64(amounts.tensor))]
        : undefined;
  if (all?.length !== 2 * (rank + 2)) return undefined;
  const pads = [...all.slice(2, rank + 2), ...all.slice(rank + 4)];
  return { pads, border: BORDERS[stringAttribute(pad, "mode", "constant")] ?? "zero" };
}

/** Inside a squeeze-and-excitation: everything up to here works on a pooled value. */
function readsPooled(node: Node, index: GraphIndex): boolean {
  let value = node.inputs[0]!;
  for (let step = 0; step < MAX_STEPS; step++) {
    const producer = index.producer(value);
    if (!producer) return false;
    if (isPool(producer)) return true;
    if (!isOp(producer, "Conv") && activationName(producer) === undefined) return false;
    value = producer.inputs[0]!;
  }
  return false;
}

function isPool(node: Node): boolean {
  // Exporters write a global average as a pool over the whole map, too.
  return isOp(node, "GlobalAveragePool") || isOp(node, "ReduceMean") || isOp(node, "AveragePool");
}

const ACTIVATIONS = new Set(
  "Relu LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Clip Gelu Mish Softplus Swish".split(
    " ",
  ),
);

function activationName(node: Node): string | undefined {
  if (!ACTIVATIONS.has(node.opType)) return undefined;
  return node.opType === "Clip" ? "ReLU6 (Clip)" : node.opType;
}

function behind(
  output: string,
  index: GraphIndex,
  constants: ReadonlyMap<string, Constant>,
): Pick<Layer, "activation" | "squeeze"> {
  let value = output;
  let activation = "";
  let squeeze: Layer["squeeze"] = "none";
  for (let step = 0; step < MAX_STEPS; step++) {
    const uses = index.uses(value).filter((use) => !isOp(use, "Shape"));
    const gate = gateOf(value, uses, index);
    if (gate) {
      squeeze = activation === "" ? "before" : "after";
      value = gate.outputs[0]!;
      continue;
    }
    const swish = swishOf(value, uses);
    const next = swish ?? (uses.length === 1 ? uses[0] : undefined);
    const name = swish ? "SiLU" : next && activationName(next);
    if (!next || name === undefined || activation !== "") break;
    // A parameter of its own (PRelu) does not matter; a second value would.
    if (!swish && next.inputs.slice(1).some((input) => input !== "" && !constants.has(input)))
      break;
    activation = name;
    value = next.outputs[0]!;
  }
  return { activation, squeeze };
}

/** The Mul of `value` with a gate that was computed from its pooled self. */
function gateOf(value: string, uses: readonly Node[], index: GraphIndex): Node | undefined {
  if (!uses.some(isPool)) return undefined;
  return uses.find((use) => {
    if (!isOp(use, "Mul")) return false;
    const other = use.inputs.find((input) => input !== value);
    const gate = other === undefined ? undefined : index.producer(other);
    return gate !== undefined && (isOp(gate, "Sigmoid") || isOp(gate, "HardSigmoid"));
  });
}

/** The Mul of `value` with its own sigmoid. */
function swishOf(value: string, uses: readonly Node[]): Node | undefined {
  const sigmoid = uses.find((use) => isOp(use, "Sigmoid"));
  return uses.find(
    (use) =>
      isOp(use, "Mul") &&
      sigmoid !== undefined &&
      use.inputs.includes(value) &&
      use.inputs.includes(sigmoid.outputs[0]!),
  );
}
