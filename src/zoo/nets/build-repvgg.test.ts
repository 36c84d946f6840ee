import { describe, expect, test } from "vitest";
import { float32View } from "../../core/dtype.ts";
import type { ModuleRecord } from "../../core/tensor.ts";
import { floatAttribute, intAttribute, intsAttribute, isOp, type Model } from "../../ir/graph.ts";
import { indexGraph } from "../../ir/index-graph.ts";
import { buildRepVgg } from "./build-repvgg.ts";
import { castTensor } from "./cast-tensor.ts";
import { createRepVgg } from "./create-repvgg.ts";
import { repVggKeys } from "./repvgg-keys.ts";
import { repVggArch } from "./repvgg-variants.ts";

function count(model: Model, opType: string): number {
  return model.graph.nodes.filter((node) => isOp(node, opType)).length;
}

const B1G4 = repVggArch("B1g4", { classes: 10 });

test("the training form has every key but the counters as initializer, under its own name", () => {
  const model = buildRepVgg(B1G4, "training", createRepVgg(B1G4, "training", { seed: 1 }));
  const expected = [...repVggKeys(B1G4, "training").keys()].filter(
    (key) => !key.endsWith("num_batches_tracked"),
  );
  expect([...model.graph.initializers.keys()].sort()).toEqual(expected.sort());
  // 28 blocks of two convolutions; 23 identities (28 − stage0 − one per stage).
  expect([count(model, "Conv"), count(model, "BatchNormalization")]).toEqual([56, 79]);
  expect([count(model, "Add"), count(model, "Relu"), count(model, "Gemm")]).toEqual([51, 28, 1]);
});

test("the deploy form has one convolution per block", () => {
  const model = buildRepVgg(B1G4, "deploy", createRepVgg(B1G4, "deploy", { seed: 1 }));
  expect([...model.graph.initializers.keys()].sort()).toEqual(
    [...repVggKeys(B1G4, "deploy").keys()].sort(),
  );
  expect(count(model, "Conv")).toBe(28);
  const conv = model.graph.nodes.find((node) => node.name === "stage1.1.rbr_reparam")!;
  expect(intAttribute(conv, "group", 1)).toBe(4);
  expect(intsAttribute(conv, "strides")).toEqual([1, 1]);
});

test("inputs and outputs are dynamic by default and fixed on request", () => {
  const state = createRepVgg(B1G4, "deploy", { seed: 1 });
  const { graph } = buildRepVgg(B1G4, "deploy", state);
  expect(graph.inputs).toEqual([
    { name: "x", dtype: "float32", shape: ["batch", 3, "height", "width"] },
  ]);
  expect(graph.outputs).toEqual([{ name: "y", dtype: "float32", shape: ["batch", 10] }]);
  const fixed = buildRepVgg(B1G4, "deploy", state, {
    input: { batch: 2, height: 64, width: 96 },
    opset: 13,
  });
  expect(fixed.graph.inputs[0]?.shape).toEqual([2, 3, 64, 96]);
  expect(fixed.opsets.get("")).toBe(13);
});

describe("SE", () => {
  test.each([
    ["RepVGG-D2se", "stage1.0.se", "before"],
    ["RepVGGplus-L2pse", "stage1.blocks.0.post_se", "after"],
  ])("%s: %s stands %s the ReLU and pools globally", (name, path, position) => {
    const arch = repVggArch(name);
    const { graph } = buildRepVgg(arch, "deploy", createRepVgg(arch, "deploy", { seed: 1 }));
    const index = indexGraph(graph);
    const scaled = graph.nodes.find((node) => node.name === path)!;
    const before = index.producer(scaled.inputs[0]!)!;
    const after = index.uses(scaled.outputs[0]!)[0]!;
    expect(isOp(before, "Relu")).toBe(position === "after");
    expect(isOp(after, "Relu")).toBe(position === "before");
    const pool = graph.nodes.find((node) => node.name === `${path}.pool`)!;
    expect(pool.opType).toBe("GlobalAveragePool");
    expect(pool.inputs[0]).toBe(scaled.inputs[0]);
  });
});

describe("epsilon", () => {
  const A0 = repVggArch("A0");
  const bn = "stage0.rbr_dense.bn";
  const record: ModuleRecord = { className: "BatchNorm2d", attributes: { eps: 1e-3 } };
  const epsilonOf = (modules: Map<string, ModuleRecord>, epsilon?: number): number => {
    const { tensors } = createRepVgg(A0, "training", { seed: 1 });
    const options = epsilon === undefined ? {} : { epsilon };
    const { graph } = buildRepVgg(A0, "training", { tensors, modules }, options);
    return floatAttribute(graph.nodes.find((node) => node.name === bn)!, "epsilon", 0);
  };
  test("the file's, else the option's, else 1e-5", () => {
    expect(epsilonOf(new Map([[bn, record]]), 1e-4)).toBe(1e-3);
    expect(epsilonOf(new Map(), 1e-4)).toBe(1e-4);
    expect(epsilonOf(new Map())).toBe(1e-5);
  });
});

describe("refusals", () => {
  const A0 = repVggArch("A0");
  const state = createRepVgg(A0, "training", { seed: 1 });
  test("a missing tensor", () => {
    expect(() => buildRepVgg(A0, "deploy", state, { where: "a.pth" })).toThrow(
      "a.pth: stage0.rbr_reparam.weight: missing, expected in the deploy form",
    );
  });
  test("a tensor of another shape", () => {
    const wider = { ...A0, classes: 3 };
    expect(() => buildRepVgg(wider, "training", state)).toThrow(
      "checkpoint: linear.weight: shape is [1000, 1280], expected [3, 1280]",
    );
  });
  test.each([6, 23, 12.5])("opset %s", (opset) => {
    expect(() => buildRepVgg(A0, "training", state, { opset })).toThrow("expected 7 to 22");
  });
  test("auxiliary outputs of a net without them", () => {
    expect(() => buildRepVgg(A0, "training", state, { aux: true })).toThrow("no auxiliary heads");
  });
});

test("weights of another float type are converted as they are read", async () => {
  // 1.5 and -2 in float16
  const half = new Uint8Array(Uint16Array.of(0x3e00, 0xc000).buffer);
  const cast = castTensor(
    {
      dtype: "float16",
      shape: [2],
      read: async (start = 0, end = 2) => half.subarray(2 * start, 2 * end),
    },
    "float32",
  );
  expect(cast.dtype).toBe("float32");
  expect([...float32View(await cast.read())]).toEqual([1.5, -2]);
  expect([...float32View(await cast.read(1, 2))]).toEqual([-2]);
});
