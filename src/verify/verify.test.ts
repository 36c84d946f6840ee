/** @file Both certificates together on small RepVGGs, with onnxruntime. */

import { describe, expect, test } from "vitest";
import { checkpointFile, deployState, repVggNet } from "../../test/support/diagnosis-nets.ts";
import { copyBlock, plainFuse } from "../../test/support/plain-fuse.ts";
import { knownGraph } from "../convert/deploy-graph.ts";
import type { CheckpointFile, OnnxFile } from "../convert/open.ts";
import type { StateDict } from "../core/tensor.ts";
import { loadNodeRuntime } from "../host/ort-node.ts";
import { verify } from "./verify.ts";

const net = await repVggNet("grouped", 8);
const training = checkpointFile("train.pth", net.state);
const options = { runtime: loadNodeRuntime, inputShape: [2, 3, 32, 32], replicas: 5 };

const deployFile = (state: StateDict): CheckpointFile => checkpointFile("deploy.pth", state);
const onnxOf = (file: CheckpointFile): OnnxFile => ({
  kind: "onnx",
  name: "deploy.onnx",
  model: knownGraph(file, undefined)!,
  reading: {},
});

describe("the whole function", () => {
  test("a correct deploy form: the conversion moves outputs less than rounding does", async () => {
    const { verdict, whole } = await verify(training, deployFile(deployState(net)), options);
    expect(verdict.word).toBe("EXACT-FOLD");
    expect(whole?.passed).toBe(true);
    expect(whole?.runtime).toMatch(/^onnxruntime-node /);
    expect(whole?.inputs).toEqual([{ name: "x", shape: [2, 3, 32, 32] }]);
    const output = whole!.outputs[0]!;
    expect(output.ratio).toBeLessThanOrEqual(1);
    expect(output.noiseMedian).toBeLessThanOrEqual(output.noiseMax);
    expect(output.conversionError).toBeGreaterThan(0); // float32 deploy weights are rounded
    expect(output.noiseFloor).toBeGreaterThan(0);
    expect(output.decisions).toMatchObject({ agreeing: 2, total: 2 });
  });

  test("epsilon of another net in one block: both certificates reject", async () => {
    const deploy = deployState(net, (block) => {
      const copy = copyBlock(block);
      if (block.prefix === "stage3.1") for (const branch of copy.branches) branch.bn.epsilon = 1e-3;
      return plainFuse(copy);
    });
    const { verdict, whole } = await verify(training, deployFile(deploy), options);
    expect(verdict.word).toBe("DIFFERENT");
    expect(whole?.passed).toBe(false);
    expect(whole!.outputs[0]!.ratio).toBeGreaterThan(10);
    expect(verdict.reasons.join()).toMatch(/stage3\.1.*output y moves/);
  });

  test("equal weights in another graph: only the function shows it", async () => {
    const { model } = onnxOf(deployFile(deployState(net)));
    const nodes = model.graph.nodes.filter((node) => node.opType !== "Relu");
    const removed = new Map(
      model.graph.nodes
        .filter((node) => node.opType === "Relu")
        .map((node) => [node.outputs[0]!, node.inputs[0]!]),
    );
    const rewired = nodes.map((node) => ({
      ...node,
      inputs: node.inputs.map((input) => removed.get(input) ?? input),
    }));
    const linear: OnnxFile = {
      kind: "onnx",
      name: "no-relu.onnx",
      model: { ...model, graph: { ...model.graph, nodes: rewired } },
      reading: {},
    };
    const { verdict } = await verify(training, linear, options);
    expect(verdict.word).toBe("DIFFERENT");
    expect(verdict.reasons.join()).toContain("output y moves");
  });

  test("a checkpoint against a graph of the same net, and two graphs", async () => {
    const deploy = onnxOf(deployFile(deployState(net)));
    expect((await verify(training, deploy, options)).verdict.word).toBe("EXACT-FOLD");
    expect((await verify(onnxOf(training), deploy, options)).verdict.word).toBe("EXACT-FOLD");
  });

  test("the caller's own input is used", async () => {
    const x = Float32Array.from({ length: 3 * 33 * 31 }, (_, i) => Math.sin(i));
    const input = {
      dtype: "float32",
      shape: [1, 3, 33, 31],
      bytes: new Uint8Array(x.buffer),
    } as const;
    const { whole } = await verify(training, deployFile(deployState(net)), { ...options, input });
    expect(whole?.inputs[0]?.shape).toEqual([1, 3, 33, 31]);
  });
});

describe("forms", () => {
  test("deploy and training form exchanged is a usage error", async () => {
    await expect(verify(deployFile(deployState(net)), training)).rejects.toMatchObject({
      tag: "usage",
      message: expect.stringContaining("Give the training form first"),
    });
  });

  test("two equal deploy forms hold the same tensors", async () => {
    const deploy = deployFile(deployState(net));
    const { verdict } = await verify(deploy, deploy);
    expect(verdict).toMatchObject({
      word: "EXACT-FOLD",
      reasons: ["both files hold the same tensors, bit by bit"],
    });
  });

  test("a half converted deploy form: fused where it is not yet", async () => {
    const whole = deployState(net);
    const tensors = new Map(whole.tensors);
    const prefix = "stage2.1.";
    for (const key of whole.tensors.keys()) if (key.startsWith(prefix)) tensors.delete(key);
    for (const [key, value] of net.state.tensors)
      if (key.startsWith(prefix)) tensors.set(key, value);
    const { verdict, deploy } = await verify(training, deployFile({ tensors, modules: new Map() }));
    expect(deploy.form).toBe("mixed");
    expect(verdict.word).toBe("EXACT-FOLD");
  });

  test("weights alone say why the function was not run", async () => {
    const deploy = deployFile(deployState(net));
    expect((await verify(training, deploy)).wholeSkipped).toBe("weights only was asked for");
    const unknown = new Map([...net.state.tensors].map(([key, value]) => [`body.${key}`, value]));
    unknown.set("extra.weight", net.state.tensors.get("linear.weight")!);
    const file = checkpointFile("custom.pth", { tensors: unknown, modules: new Map() });
    expect((await verify(file, deploy, options)).wholeSkipped).toContain(
      "the network around its blocks is not known",
    );
  });

  test("stops when asked to", async () => {
    const signal = AbortSignal.abort();
    await expect(
      verify(training, deployFile(deployState(net)), { ...options, signal }),
    ).rejects.toMatchObject({ tag: "aborted" });
  });
});
