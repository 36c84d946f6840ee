/** @file Mistakes in a graph, each made of the right deploy form: what a rewritten forward() does. */

import {
  float32Tensor,
  int64Tensor,
  type LazyTensor,
  lazyTensor,
  readFloat64,
} from "../../src/core/tensor.ts";
import type { CauseId } from "../../src/diagnose/causes.ts";
import type { Attribute, Model, Node } from "../../src/ir/graph.ts";
import type { GraphNet } from "./diagnosis-graphs.ts";

export interface GraphFault {
  readonly cause: CauseId;
  readonly name: string;
  /** Both graphs; `pick` chooses one of several places. Undefined where the net has no such place. */
  apply(
    net: GraphNet,
    pick: (count: number) => number,
  ): GraphNet | undefined | Promise<GraphNet | undefined>;
}

export function withNodes(model: Model, change: (node: Node) => Node | Node[]): Model {
  const nodes = model.graph.nodes.flatMap((node) => change(node));
  return { ...model, graph: { ...model.graph, nodes } };
}

function withAttributes(node: Node, attributes: Readonly<Record<string, Attribute>>): Node {
  const all = new Map(node.attributes);
  for (const [name, value] of Object.entries(attributes)) all.set(name, value);
  return { ...node, attributes: all };
}

const ints = (...value: number[]): Attribute => ({ type: "ints", value });

function intsOf(node: Node, name: string): readonly number[] {
  const attribute = node.attributes.get(name);
  return attribute?.type === "ints" ? attribute.value : [];
}

/** The convolution reads its input's reflection beyond the border instead of zeros: one position on every side. */
export function withReflectedBorder(model: Model, target: Node): Model {
  const padded = withNodes(model, (node) => {
    if (node !== target) return node;
    const pad: Node = {
      opType: "Pad",
      domain: "",
      name: "reflect",
      inputs: [node.inputs[0]!, "reflect.pads"],
      outputs: ["reflect.out"],
      attributes: new Map([["mode", { type: "string", value: "reflect" }]]),
    };
    const inputs = ["reflect.out", ...node.inputs.slice(1)];
    return [pad, { ...withAttributes(node, { pads: ints(0, 0, 0, 0) }), inputs }];
  });
  const pads = lazyTensor(int64Tensor([8], [0, 0, 1, 1, 0, 0, 1, 1]));
  const initializers = new Map(padded.graph.initializers).set("reflect.pads", pads);
  return { ...padded, graph: { ...padded.graph, initializers } };
}

/** `node` gone; what read its output reads its first input. */
export function withoutNode(model: Model, gone: Node): Model {
  const [from, to] = [gone.outputs[0]!, gone.inputs[0]!];
  return withNodes(model, (node) =>
    node === gone
      ? []
      : { ...node, inputs: node.inputs.map((input) => (input === from ? to : input)) },
  );
}

/** Another window of a 3×3 convolution of the deploy form. */
function onWindow(
  cause: CauseId,
  name: string,
  change: (conv: Node) => Readonly<Record<string, Attribute>>,
  fits: (conv: Node) => boolean = () => true,
): GraphFault {
  return {
    cause,
    name,
    apply: ({ training, deploy }, pick) => {
      const convs = spatial(deploy).filter(fits);
      const target = convs[pick(convs.length)];
      if (!target) return undefined;
      const changed = withNodes(deploy, (node) =>
        node === target ? withAttributes(node, change(node)) : node,
      );
      return { training, deploy: changed };
    },
  };
}

function spatial(model: Model): Node[] {
  return model.graph.nodes.filter(
    (node) => node.opType === "Conv" && intsOf(node, "kernel_shape").join() === "3,3",
  );
}

function weightOf(model: Model, conv: Node): LazyTensor {
  return model.graph.initializers.get(conv.inputs[1]!)!;
}

function groupOf(conv: Node): number {
  const attribute = conv.attributes.get("group");
  return attribute?.type === "int" ? attribute.value : 1;
}

function activations(model: Model): Node[] {
  return model.graph.nodes.filter(({ opType, name }) => opType === "Relu" && name.endsWith(".act"));
}

function gateOf(model: Model): Node {
  return model.graph.nodes.find(({ opType, name }) => opType === "Mul" && name.endsWith(".se"))!;
}

export const GRAPH_FAULTS: readonly GraphFault[] = [
  onWindow(
    "stride-differs",
    "1 for 2",
    () => ({ strides: ints(1, 1) }),
    (conv) => intsOf(conv, "strides").join() === "2,2",
  ),
  onWindow("pads-differ", "none", () => ({ pads: ints(0, 0, 0, 0) })),
  onWindow("dilation-differs", "2", () => ({ dilations: ints(2, 2) })),
  {
    cause: "groups-differ",
    name: "2 for 1",
    apply: async ({ training, deploy }, pick) => {
      const convs = spatial(deploy).filter((conv) => {
        const [outC = 0, inC = 0] = weightOf(deploy, conv).shape;
        return groupOf(conv) === 1 && outC % 2 === 0 && inC % 2 === 0;
      });
      const target = convs[pick(convs.length)];
      if (!target) return undefined;
      const weight = weightOf(deploy, target);
      const [outC, inC, ...taps] = weight.shape as [number, number, number, number];
      const values = await readFloat64(weight);
      // Each half of the filters reads its half of the channels.
      const [row, half] = [values.length / outC, values.length / outC / 2];
      const kept = Array.from({ length: outC }, (_, o) => {
        const begin = o * row + (o < outC / 2 ? 0 : half);
        return [...values.subarray(begin, begin + half)];
      }).flat();
      const name = "two.groups";
      const initializers = new Map(deploy.graph.initializers).set(
        name,
        lazyTensor(float32Tensor([outC, inC / 2, ...taps], kept)),
      );
      const changed = withNodes({ ...deploy, graph: { ...deploy.graph, initializers } }, (node) =>
        node === target
          ? {
              ...withAttributes(node, { group: { type: "int", value: 2 } }),
              inputs: [node.inputs[0]!, name, ...node.inputs.slice(2)],
            }
          : node,
      );
      return { training, deploy: changed };
    },
  },
  {
    cause: "padding-mode-differs",
    name: "reflect",
    apply: ({ training, deploy }, pick) => {
      const convs = spatial(deploy);
      const target = convs[pick(convs.length)]!;
      return { training, deploy: withReflectedBorder(deploy, target) };
    },
  },
  {
    cause: "activation-missing",
    name: "ReLU",
    apply: ({ training, deploy }, pick) => {
      const all = activations(deploy);
      return { training, deploy: withoutNode(deploy, all[pick(all.length)]!) };
    },
  },
  {
    cause: "activation-extra",
    name: "ReLU",
    apply: ({ training, deploy }, pick) => {
      const all = activations(training);
      return { training: withoutNode(training, all[pick(all.length)]!), deploy };
    },
  },
  {
    cause: "activation-differs",
    name: "SiLU",
    apply: ({ training, deploy }, pick) => {
      const all = activations(deploy);
      const relu = all[pick(all.length)]!;
      const sigmoid: Node = { ...relu, opType: "Sigmoid", name: "s", outputs: ["s.out"] };
      const silu: Node = { ...relu, opType: "Mul", inputs: [relu.inputs[0]!, "s.out"] };
      return {
        training,
        deploy: withNodes(deploy, (node) => (node === relu ? [sigmoid, silu] : node)),
      };
    },
  },
  {
    cause: "se-missing",
    name: "",
    apply: ({ training, deploy }) => ({ training, deploy: withoutNode(deploy, gateOf(deploy)) }),
  },
  {
    cause: "se-misplaced",
    name: "behind the ReLU",
    apply: ({ training, deploy }) => {
      const gate = gateOf(deploy);
      const from = gate.inputs[0]!;
      const relu = deploy.graph.nodes.find((node) => node.inputs.includes(gate.outputs[0]!))!;
      const early: Node = { ...relu, inputs: [from], outputs: ["early"] };
      const block = gate.name.replace(/\.se$/, "");
      const moved = withNodes(deploy, (node) => {
        if (node === relu) return [];
        const inputs = node.inputs.map((input) =>
          input === from && node.name.startsWith(`${block}.se`) ? "early" : input,
        );
        if (node === gate) return { ...node, inputs, outputs: relu.outputs };
        return node.name === `${block}.se.pool`
          ? [early, { ...node, inputs }]
          : { ...node, inputs };
      });
      return { training, deploy: moved };
    },
  },
  {
    cause: "graph-differs",
    name: "squeeze-and-excitation in the deploy form alone",
    apply: ({ training, deploy }) => ({
      training: withoutNode(training, gateOf(training)),
      deploy,
    }),
  },
  {
    cause: "outputs-reordered",
    name: "",
    apply: ({ training, deploy }) => ({
      training,
      deploy: {
        ...deploy,
        graph: { ...deploy.graph, outputs: deploy.graph.outputs.toReversed() },
      },
    }),
  },
];
