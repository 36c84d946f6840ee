/**
 * @file Models stored in float16, from end to end: the fold is rounded to float16, and the whole networks may differ by
 * what a float16 rounding of every parameter does, not by what a float32 rounding does.
 */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { planConversion, writeConversion } from "../src/convert/conversion.ts";
import { type ModelFile, type OnnxFile, openModelFile } from "../src/convert/open.ts";
import { memorySink } from "../src/core/byte-sink.ts";
import { memorySource } from "../src/core/byte-source.ts";
import { encodeFloat64 } from "../src/core/dtype.ts";
import { createRng } from "../src/core/rng.ts";
import { type LazyTensor, lazyTensor } from "../src/core/tensor.ts";
import { modelToBytes } from "../src/formats/onnx/write-model.ts";
import { loadNodeRuntime } from "../src/host/ort-node.ts";
import { createGraphBuilder } from "../src/ir/builder.ts";
import type { Model } from "../src/ir/graph.ts";
import { verify } from "../src/verify/verify.ts";

/** Two RepVGG-like blocks with float16 weights, inputs and outputs. */
function halfModel(seed: number): Model {
  const rng = createRng(seed);
  const g = createGraphBuilder({ opset: 17 });
  const half = (name: string, shape: readonly number[], draw: () => number): string => {
    const count = shape.reduce((a, b) => a * b, 1);
    const bytes = encodeFloat64(Float64Array.from({ length: count }, draw), "float16");
    const value: LazyTensor = lazyTensor({ dtype: "float16", shape, bytes });
    return g.initializer(name, value);
  };
  const normal = () => 0.3 * rng.normal();
  const branch = (x: string, inC: number, kernel: number): string => {
    const pads = new Array<number>(4).fill((kernel - 1) / 2);
    const y = g.node("Conv", [x, half("w", [4, inC, kernel, kernel], normal)], { pads }, "conv");
    const statistics = [
      half("gamma", [4], normal),
      half("beta", [4], normal),
      half("mean", [4], normal),
      half("variance", [4], () => 0.5 + rng.next()),
    ];
    return g.node("BatchNormalization", [y, ...statistics], { epsilon: { float: 1e-5 } }, "bn");
  };
  let x = g.input("x", "float16", ["n", 3, 8, 8]);
  for (const inC of [3, 4]) {
    x = g.node("Relu", [g.node("Add", [branch(x, inC, 3), branch(x, inC, 1)], {}, "sum")]);
  }
  g.output(x, "float16", ["n", 4, 8, 8]);
  return g.build();
}

async function open(name: string, bytes: Uint8Array): Promise<ModelFile> {
  return await openModelFile(memorySource(name, bytes));
}

async function converted(file: ModelFile, target: "onnx" | "pytorch"): Promise<ModelFile> {
  const sink = memorySink();
  await writeConversion(await planConversion(file, target), sink);
  return await open(target === "onnx" ? "deploy.onnx" : "deploy.pth", sink.bytes());
}

describe("an ONNX model in float16", () => {
  test.each([1, 2, 3])("converts to the same function, seed %i", async (seed) => {
    const train = await open("train.onnx", await modelToBytes(halfModel(seed)));
    const deploy = (await converted(train, "onnx")) as OnnxFile;
    const dtypes = [...deploy.model.graph.initializers.values()].map((value) => value.dtype);
    expect(new Set(dtypes)).toEqual(new Set(["float16"]));
    const { verdict, whole } = await verify(train, deploy, { runtime: loadNodeRuntime });
    expect(verdict.word).toBe("EXACT-FOLD");
    expect(whole?.passed).toBe(true);
    // A float32 rounding is 2^13 times smaller: the noise is not that one.
    expect(whole!.outputs[0]!.noiseMax).toBeGreaterThan(1e-6);
  });

  test("with an activation lost is another function", async () => {
    const train = await open("train.onnx", await modelToBytes(halfModel(1)));
    const { model } = (await converted(train, "onnx")) as OnnxFile;
    const lost = model.graph.nodes.findIndex((node) => node.opType === "Relu");
    const nodes = model.graph.nodes.map((node, i) =>
      i === lost ? { ...node, opType: "Identity" } : node,
    );
    const wrong = { ...model, graph: { ...model.graph, nodes } };
    const deploy = await open("deploy.onnx", await modelToBytes(wrong));
    const { verdict } = await verify(train, deploy, { runtime: loadNodeRuntime });
    expect(verdict.word).toBe("DIFFERENT");
  });
});

// Of ONNX the graph is float32, and so is the one rounding: half precision has no part in it.
test.each([
  ["pytorch", "float16"],
  ["onnx", "float32"],
] as const)("a checkpoint in float16 converts to the same function: %s", async (target, dtype) => {
  const url = new URL("fixtures/fp16/train.pth", import.meta.url);
  const train = await open("train.pth", readFileSync(url));
  const deploy = await converted(train, target);
  const tensors = deploy.kind === "onnx" ? deploy.model.graph.initializers : deploy.state.tensors;
  const fused = [...tensors].filter(([name]) => name.endsWith("rbr_reparam.weight"));
  expect(new Set(fused.map(([, value]) => value.dtype))).toEqual(new Set([dtype]));
  const { verdict, whole } = await verify(train, deploy, { runtime: loadNodeRuntime });
  expect(verdict.word).toBe("EXACT-FOLD");
  expect(whole?.passed).toBe(true);
});
