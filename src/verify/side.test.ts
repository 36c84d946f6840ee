/** @file What certificate A sees of graphs and checkpoints: regions, the kernels inside them, conv and norm pairs. */

import { describe, expect, test } from "vitest";
import { checkpointFile } from "../../test/support/diagnosis-nets.ts";
import type { OnnxFile } from "../convert/open.ts";
import { createRng } from "../core/rng.ts";
import {
  float32Tensor,
  type LazyTensor,
  lazyTensor,
  readFloat64,
  type StateDict,
} from "../core/tensor.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import { openSide } from "./side.ts";
import { verify } from "./verify.ts";

const rng = createRng(11);
const random = (shape: readonly number[]): LazyTensor => {
  const count = shape.reduce((a, b) => a * b, 1);
  return lazyTensor(
    float32Tensor(
      shape,
      Array.from({ length: count }, () => rng.normal()),
    ),
  );
};
const positive = (shape: readonly number[]): LazyTensor => {
  const count = shape.reduce((a, b) => a * b, 1);
  return lazyTensor(
    float32Tensor(
      shape,
      Array.from({ length: count }, () => 1 + rng.next()),
    ),
  );
};

function norm(path: string, channels: number): [string, LazyTensor][] {
  return [
    [`${path}.weight`, random([channels])],
    [`${path}.bias`, random([channels])],
    [`${path}.running_mean`, random([channels])],
    [`${path}.running_var`, positive([channels])],
  ];
}

/** A plain conv and norm, a RepVGG block, a linear layer. */
function trainingState(): StateDict {
  const tensors = new Map<string, LazyTensor>([
    ["stem.conv.weight", random([4, 3, 3, 3])],
    ...norm("stem.bn", 4),
    ["stage1.0.rbr_dense.conv.weight", random([6, 4, 3, 3])],
    ...norm("stage1.0.rbr_dense.bn", 6),
    ["stage1.0.rbr_1x1.conv.weight", random([6, 4, 1, 1])],
    ...norm("stage1.0.rbr_1x1.bn", 6),
    ["fc.weight", random([5, 6])],
    ["fc.bias", random([5])],
  ]);
  return { tensors, modules: new Map() };
}

async function folded(
  state: StateDict,
  epsilon = 1e-5,
  change = 1,
): Promise<[LazyTensor, LazyTensor]> {
  const read = (key: string): Promise<Float64Array> => readFloat64(state.tensors.get(key)!);
  const weight = await read("stem.conv.weight");
  const [gamma, beta, mean, variance] = [
    await read("stem.bn.weight"),
    await read("stem.bn.bias"),
    await read("stem.bn.running_mean"),
    await read("stem.bn.running_var"),
  ];
  const scale = gamma.map((g, o) => g / Math.sqrt(variance[o]! + epsilon));
  const values = weight.map((w, i) => w * scale[Math.floor(i / 27)]!);
  values[0] = values[0]! * change;
  const bias = beta.map((b, o) => b - mean[o]! * scale[o]!);
  return [lazyTensor(float32Tensor([4, 3, 3, 3], values)), lazyTensor(float32Tensor([4], bias))];
}

/** As an exporter writes it: norms folded, names lost, the linear layer as MatMul and Add. */
async function deployGraph(
  state: StateDict,
  stem: readonly [LazyTensor, LazyTensor],
): Promise<OnnxFile> {
  const { fused } = await openSide(checkpointFile("t.pth", state));
  const kernel = fused[0]!;
  const weight = (await kernel.rows(0, 6, false)).values;
  const bias = (await kernel.biases()).values;
  const fc = await readFloat64(state.tensors.get("fc.weight")!);
  const turned = Array.from({ length: 30 }, (_, i) => fc[(i % 5) * 6 + Math.floor(i / 5)]!);
  const builder = createGraphBuilder({ name: "deploy" });
  const constant = (name: string, tensor: LazyTensor): string => builder.initializer(name, tensor);
  const x = builder.input("x", "float32", ["N", 3, 8, 8]);
  const pads = { pads: [1, 1, 1, 1] };
  const stemmed = builder.node("Conv", [x, constant("c0", stem[0]), constant("c1", stem[1])], pads);
  const act = builder.node("Relu", [stemmed]);
  const block = builder.node(
    "Conv",
    [
      act,
      constant("c2", lazyTensor(float32Tensor([6, 4, 3, 3], weight))),
      constant("c3", lazyTensor(float32Tensor([6], bias))),
    ],
    pads,
  );
  const pooled = builder.node("GlobalAveragePool", [builder.node("Relu", [block])]);
  const flat = builder.node("Flatten", [pooled]);
  const product = builder.node("MatMul", [
    flat,
    constant("c4", lazyTensor(float32Tensor([6, 5], turned))),
  ]);
  builder.output(
    builder.node("Add", [product, constant("c5", state.tensors.get("fc.bias")!)], {}, "y"),
    "float32",
    ["N", 5],
  );
  return { kind: "onnx", name: "deploy.onnx", model: builder.build(), reading: {} };
}

describe("a checkpoint against an exporter's graph", () => {
  test("a plain convolution whose norm the exporter folded is proved, not guessed", async () => {
    const state = trainingState();
    const deploy = await deployGraph(state, await folded(state));
    const { verdict, weights } = await verify(checkpointFile("t.pth", state), deploy);
    expect(weights.blocks.map(({ name, status }) => [name, status])).toEqual([
      ["stage1.0", "exact"],
      ["stem.conv", "exact"],
    ]);
    expect(weights.others).toMatchObject({ missing: [], different: [], surplus: [] });
    expect(verdict.word).toBe("EXACT-FOLD");
  });

  test("a convolution that is not folded with this epsilon stays unproved", async () => {
    const state = trainingState();
    const deploy = await deployGraph(state, await folded(state, 1e-3));
    const { verdict, weights } = await verify(checkpointFile("t.pth", state), deploy);
    expect(weights.others.missing).toContain("stem.conv.weight");
    expect(verdict.word).toBe("UNDECIDED");
  });

  test("one wrong number of such a convolution is not proved either", async () => {
    const state = trainingState();
    const deploy = await deployGraph(state, await folded(state, 1e-5, 1.001));
    const { verdict } = await verify(checkpointFile("t.pth", state), deploy);
    expect(verdict.word).not.toMatch(/EXACT|EQUAL/);
  });

  test("epsilon comes from a pickled module where there is one", async () => {
    const state = trainingState();
    const record = {
      className: "torch.nn.modules.batchnorm.BatchNorm2d",
      attributes: { eps: 1e-3 },
    };
    const recorded: StateDict = { ...state, modules: new Map([["stem.bn", record]]) };
    const deploy = await deployGraph(state, await folded(state, 1e-3));
    const { verdict } = await verify(checkpointFile("t.pth", recorded), deploy);
    expect(verdict.word).toBe("EXACT-FOLD");
  });
});

describe("openSide", () => {
  test("a checkpoint: blocks are fused, the rest is by name", async () => {
    const side = await openSide(checkpointFile("t.pth", trainingState()));
    expect(side.form).toBe("training");
    expect(side.fused.map((kernel) => [kernel.name, kernel.weightName, kernel.shape])).toEqual([
      ["stage1.0", "stage1.0.rbr_reparam.weight", [6, 4, 3, 3]],
    ]);
    expect([...side.tensors.keys()]).not.toContain("stage1.0.rbr_dense.conv.weight");
    expect(side.folds.map((fold) => fold.names)).toEqual([
      [
        "stem.conv.weight",
        "stem.bn.weight",
        "stem.bn.bias",
        "stem.bn.running_mean",
        "stem.bn.running_var",
      ],
    ]);
  });

  test("a checkpoint of no known family is a deploy form", async () => {
    const tensors = new Map([["a.weight", random([2, 2])]]);
    const side = await openSide(checkpointFile("t.pth", { tensors, modules: new Map() }));
    expect(side).toMatchObject({ form: "deploy", fused: [] });
    expect(side.stored.map((kernel) => kernel.weightName)).toEqual(["a.weight"]);
  });

  test("a graph: a region's own convolutions are kept for when it has no counterpart", async () => {
    const builder = createGraphBuilder({ name: "g" });
    const x = builder.input("x", "float32", ["N", 2, 8, 8]);
    const first = builder.node("Conv", [x, builder.initializer("w1", random([2, 2, 1, 1]))]);
    const scaled = builder.node(
      "Mul",
      [first, builder.initializer("s", random([2, 1, 1]))],
      {},
      "y",
    );
    builder.output(scaled, "float32", ["N", 2, 8, 8]);
    const model = builder.build();
    const side = await openSide({ kind: "onnx", name: "g.onnx", model, reading: {} });
    expect(side.form).toBe("deploy"); // nothing is added up
    expect(side.fused).toHaveLength(1);
    const parts = side.parts.get(side.fused[0]!)!;
    expect([...parts.tensors.keys()]).toEqual(["w1", "s"]);
    expect(parts.stored.map((kernel) => kernel.weightName)).toEqual(["w1"]);
  });
});
