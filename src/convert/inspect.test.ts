import { describe, expect, test } from "vitest";
import { memorySink } from "../core/byte-sink.ts";
import { memorySource } from "../core/byte-source.ts";
import type { LazyTensor } from "../core/tensor.ts";
import { modelToBytes } from "../formats/onnx/write-model.ts";
import { writeSafetensors } from "../formats/safetensors/write-safetensors.ts";
import { buildRepVgg, createRepVgg, type RepVggArch, repVggArch } from "../zoo/nets/index.ts";
import { assertArch } from "./check-arch.ts";
import { inspectModel } from "./inspect.ts";
import { type ModelFile, openModelFile } from "./open.ts";

const GROUPED: RepVggArch = {
  layout: "repvgg",
  inputChannels: 3,
  stem: 8,
  stageBlocks: [1, 2, 1, 1],
  stageWidths: [8, 16, 16, 32],
  groups: [1, 1, 4, 1, 1, 1],
  classes: 10,
  se: "none",
  auxHeads: false,
};

async function checkpoint(
  arch: RepVggArch,
  form: "training" | "deploy",
  rename: (name: string) => string = (name) => name,
): Promise<ModelFile> {
  const { tensors } = createRepVgg(arch, form, { seed: 1 });
  const sink = memorySink();
  const named = [...tensors].map(([name, tensor]: [string, LazyTensor]) => ({
    name: rename(name),
    tensor,
  }));
  await writeSafetensors(named, sink);
  return await openModelFile(memorySource("net.safetensors", sink.bytes()));
}

describe("a checkpoint", () => {
  test("a grouped block without an identity branch gets its group count from the net", async () => {
    const inspection = await inspectModel(await checkpoint(GROUPED, "training"));
    const block = inspection.blocks.find(({ name }) => name === "stage2.0");
    // [16, 2, 3, 3] alone could be 2 → 16 channels in one group; the net says 8 → 16 in four.
    expect(block).toMatchObject({ weightShape: [16, 2, 3, 3], inC: 8, group: 4, stride: 2 });
    expect(inspection).toMatchObject({ form: "training", families: ["repvgg"] });
  });

  test("a prefix is cut from the names and said", async () => {
    const file = await checkpoint(GROUPED, "training", (name) => `module.${name}`);
    const inspection = await inspectModel(file);
    expect(inspection).toMatchObject({ prefix: "module." });
    expect(inspection.blocks[0]!.name).toBe("stage0");
  });

  test("a deploy form has blocks without branches", async () => {
    const inspection = await inspectModel(await checkpoint(GROUPED, "deploy"));
    expect(inspection.form).toBe("deploy");
    expect(inspection.blocks.map((block) => block.branches)).toEqual(Array(6).fill([]));
  });

  test("statistics are read only when asked for", async () => {
    const file = await checkpoint(GROUPED, "training");
    const plain = await inspectModel(file);
    expect(plain.tensors.every((tensor) => tensor.statistics === undefined)).toBe(true);
    const full = await inspectModel(file, { statistics: true });
    expect(full.tensors.every((tensor) => tensor.statistics !== undefined)).toBe(true);
  });

  test("stops when asked to", async () => {
    const file = await checkpoint(GROUPED, "training");
    const signal = AbortSignal.abort();
    await expect(inspectModel(file, { statistics: true, signal })).rejects.toThrow("stopped");
  });

  test("a net that only begins like a RepVGG is said to be none, and shown", async () => {
    const broken = (name: string): string => name.replace("linear.", "head.");
    const inspection = await inspectModel(await checkpoint(GROUPED, "training", broken));
    expect(inspection.notes[0]).toContain("begins like a RepVGG");
    expect(inspection.blocks).toHaveLength(6);
  });
});

test("an ONNX model: operators, regions, inputs", async () => {
  const state = createRepVgg(GROUPED, "training", { seed: 1 });
  const bytes = await modelToBytes(buildRepVgg(GROUPED, "training", state));
  const inspection = await inspectModel(await openModelFile(memorySource("net.onnx", bytes)));
  expect(inspection).toMatchObject({ kind: "onnx", form: "training", opset: 17 });
  expect(inspection.blocks.map(({ name }) => name)).toContain("stage2.1");
  if (inspection.kind !== "onnx") throw new Error("not reached");
  expect(inspection.inputs).toEqual([{ name: "x", shape: ["batch", 3, "height", "width"] }]);
  // 6 blocks: a dense and a pointwise convolution each.
  expect(inspection.operators).toContainEqual({ opType: "Conv", count: 12 });
});

describe("--arch", () => {
  test("accepts the net it names, whatever its head", async () => {
    const file = await checkpoint(repVggArch("A0", { classes: 7 }), "deploy");
    expect(() => assertArch(file, "repvgg_a0")).not.toThrow();
    expect(() => assertArch(file, "RepVGG-A1")).toThrow("holds RepVGG-A0, expected RepVGG-A1");
  });

  test("refuses unknown names and custom nets", async () => {
    const file = await checkpoint(GROUPED, "training");
    expect(() => assertArch(file, "RepVGG-Z9")).toThrow("no published RepVGG has this name");
    expect(() => assertArch(file, "A0")).toThrow("holds a custom RepVGG with blocks 1, 2, 1, 1");
  });
});
