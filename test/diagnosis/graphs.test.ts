/** @file Graphs whose weights agree: windows, borders, activations, squeeze-and-excitation, outputs. */

import { beforeAll, expect, test } from "vitest";
import type { ModelFile } from "../../src/convert/open.ts";
import { float32Tensor, lazyTensor } from "../../src/core/tensor.ts";
import { diagnose } from "../../src/diagnose/diagnose.ts";
import { createGraphBuilder } from "../../src/ir/builder.ts";
import type { Attribute, Model, Node } from "../../src/ir/graph.ts";
import { applyPlan } from "../../src/rewrite/apply.ts";
import { planReparam } from "../../src/rewrite/plan.ts";
import { buildRepVgg, createRepVgg, type RepVggArch } from "../../src/zoo/nets/index.ts";
import { withNodes, withoutNode, withReflectedBorder } from "../support/graph-faults.ts";

const ARCH: RepVggArch = {
  layout: "repvgg",
  inputChannels: 3,
  stem: 4,
  stageBlocks: [1, 2, 1, 1],
  stageWidths: [4, 8, 8, 12],
  groups: [1, 1, 1, 2, 1, 1],
  classes: 3,
  se: "before-relu",
  seReduction: 4,
  auxHeads: false,
};

let training: Model;
let deploy: Model;

beforeAll(async () => {
  training = buildRepVgg(ARCH, "training", createRepVgg(ARCH, "training", { seed: 8 }));
  deploy = applyPlan(training, await planReparam(training)).model;
});

function onnx(name: string, model: Model): ModelFile {
  return { kind: "onnx", name, model, reading: {} };
}

async function findingsOf(changed: Model, from: Model = training) {
  const { findings } = await diagnose(onnx("train.onnx", from), onnx("deploy.onnx", changed), {
    numerics: false,
  });
  return findings.map(({ cause, detail, confidence }) => `${cause}: ${detail} (${confidence})`);
}

/** Block convolutions of the deploy graph: those with a 3×3 kernel. */
function blockConv(model: Model, at: number): Node {
  return model.graph.nodes.filter((node) => node.opType === "Conv" && kernelOf(node) === "3,3")[
    at
  ]!;
}

function kernelOf(node: Node): string {
  const attribute = node.attributes.get("kernel_shape");
  return attribute?.type === "ints" ? attribute.value.join() : "";
}

function withAttribute(node: Node, name: string, attribute: Attribute): Node {
  return { ...node, attributes: new Map(node.attributes).set(name, attribute) };
}

const ints = (...value: number[]): Attribute => ({ type: "ints", value });

test("the exact deploy graph gives no finding", async () => {
  expect(await findingsOf(deploy)).toEqual([]);
});

test.each<[string, number, string, Attribute, string]>([
  ["stride", 1, "strides", ints(1, 1), "stride-differs: stride 1×1, expected 2×2 (proved)"],
  [
    "pads",
    2,
    "pads",
    ints(0, 0, 0, 0),
    "pads-differ: pads [0, 0, 0, 0], expected [1, 1, 1, 1] (proved)",
  ],
  ["dilation", 0, "dilations", ints(2, 2), "dilation-differs: dilation 2×2, expected 1×1 (proved)"],
])("another %s", async (_, at, name, attribute, expected) => {
  const target = blockConv(deploy, at);
  expect(
    await findingsOf(
      withNodes(deploy, (node) => (node === target ? withAttribute(node, name, attribute) : node)),
    ),
  ).toContain(expected);
});

test("a border padded by reflection", async () => {
  expect(await findingsOf(withReflectedBorder(deploy, blockConv(deploy, 1)))).toEqual([
    "padding-mode-differs: reflect padding, expected zero (proved)",
  ]);
});

const lastRelu = (model: Model): Node =>
  model.graph.nodes
    .filter(({ opType, name }) => opType === "Relu" && name.endsWith("nonlinearity"))
    .at(-1)!;

test("a missing, an additional and another activation", async () => {
  const relu = lastRelu(deploy);
  expect(await findingsOf(withoutNode(deploy, relu))).toContain(
    "activation-missing: none, expected Relu (proved)",
  );
  expect(await findingsOf(deploy, withoutNode(training, lastRelu(training)))).toContain(
    "activation-extra: Relu, expected none (proved)",
  );
  const sigmoid: Node = { ...relu, opType: "Sigmoid", name: "s", outputs: ["s.out"] };
  const silu: Node = { ...relu, opType: "Mul", inputs: [relu.inputs[0]!, "s.out"] };
  const swapped = withNodes(deploy, (node) => (node === relu ? [sigmoid, silu] : node));
  expect(await findingsOf(swapped)).toContain("activation-differs: SiLU, expected Relu (proved)");
});

test("squeeze-and-excitation left out, and on the other side of the activation", async () => {
  const gate = deploy.graph.nodes.find(
    ({ opType, name }) => opType === "Mul" && name === "stage1.0.se",
  )!;
  expect(await findingsOf(withoutNode(deploy, gate))).toContain(
    "se-missing: before the activation in the training form (proved)",
  );
  const after = buildRepVgg({ ...ARCH, se: "after-relu" }, "training", renamedSe());
  const moved = applyPlan(after, await planReparam(after)).model;
  expect(await findingsOf(moved)).toEqual([
    "se-misplaced: after the activation, expected before it (proved)",
  ]);
});

/** The same weights under RepVGGplus' name of the SE. */
function renamedSe() {
  const { tensors, modules } = createRepVgg(ARCH, "training", { seed: 8 });
  return {
    modules,
    tensors: new Map([...tensors].map(([key, value]) => [key.replace(".se.", ".post_se."), value])),
  };
}

test("outputs in another order", async () => {
  const two = (order: readonly string[]): Model => {
    const g = createGraphBuilder();
    const x = g.input("x", "float32", ["N", 2, 8, 8]);
    for (const name of ["a", "b"]) {
      const weight = g.initializer(
        `${name}.weight`,
        lazyTensor(float32Tensor([2, 2, 1, 1], name === "a" ? [1, 2, 3, 4] : [5, 6, 7, 8])),
      );
      g.node("Conv", [x, weight], { kernel_shape: [1, 1] }, name);
    }
    for (const name of order) g.output(name, "float32", undefined);
    return g.build();
  };
  expect(await findingsOf(two(["b", "a"]), two(["a", "b"]))).toContain(
    "outputs-reordered: b, a; expected a, b (proved)",
  );
});

test("a fault of one block of a graph is proved as in a checkpoint", async () => {
  const wrong = withNodes(training, (node) =>
    node.name === "stage2.0.rbr_1x1.bn"
      ? withAttribute(node, "epsilon", { type: "float", value: 0.01 })
      : node,
  );
  const changed = applyPlan(wrong, await planReparam(wrong)).model;
  const { findings } = await diagnose(onnx("train.onnx", training), onnx("deploy.onnx", changed), {
    numerics: false,
  });
  expect(findings).toHaveLength(1);
  expect(findings[0]).toMatchObject({
    cause: "bn-epsilon",
    confidence: "proved",
    evidence: { deployEpsilon: 0.01, branch: "rbr_1x1" },
  });
  expect(findings[0]!.blocks[0]).toMatch(/^stage2\.0/);
});
