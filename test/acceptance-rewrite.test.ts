/**
 * @file Every training-form ONNX file of the optional data folder is planned, fused, cleaned, written and run:
 * the same function, one convolution per block, nothing larger than before.
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { memorySource } from "../src/core/byte-source.ts";
import { decodeFloat64 } from "../src/core/dtype.ts";
import { createRng } from "../src/core/rng.ts";
import { float32Tensor, readTensor, type Tensor } from "../src/core/tensor.ts";
import { readNpy } from "../src/formats/npy/read-npy.ts";
import { readModel } from "../src/formats/onnx/read-model.ts";
import { modelToBytes } from "../src/formats/onnx/write-model.ts";
import { loadNodeRuntime } from "../src/host/ort-node.ts";
import { graphInputs, type Model } from "../src/ir/graph.ts";
import { applyPlan } from "../src/rewrite/apply.ts";
import { cleanModel } from "../src/rewrite/clean.ts";
import { planReparam } from "../src/rewrite/plan.ts";
import { createReference } from "../src/runtime/reference.ts";
import { dataFolder } from "./data-folder.ts";

const folder = dataFolder();

function onnxFiles(part: string, wanted: (file: string) => boolean): [string, string][] {
  if (!folder) return [];
  return readdirSync(join(folder, part), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".onnx") && wanted(file))
    .map((file): [string, string] => [file, join(folder, part, file)]);
}

const trained = onnxFiles("fixtures", (file) => /train[^/]*\.onnx$/.test(file));
const published = onnxFiles("real", () => true);

/**
 * Correct conversions are 0.6 to 2.2 times as far from the float64 truth as the training form run in
 * float32; the mildest fault (one branch with another epsilon) at 128 times. 8 lies in the middle of that gap.
 */
const FURTHER_FROM_TRUTH = 8;

/** Layers of the deploy form that the origin's export left out or kept apart; the reason beside each. */
const EXTRA_LAYERS: Readonly<Record<string, number>> = {
  // Its deploy forward skips the squeeze-and-excitation, two pointwise convolutions in each of six blocks.
  "originbug-mmpretrain-se": 12,
};

/** Normalizations that stay where the origin folds them; the reason beside each. */
const KEPT_NORMS: Readonly<Record<string, number>> = {
  // Behind channels-last linear layers: MatMul, Transpose, BatchNormalization.
  "unireplknet-block": 2,
};

async function fuse(path: string): Promise<{
  before: Model;
  after: Model;
  macs: [number, number] | undefined;
  parameters: [number, number];
}> {
  const before = await readModel(memorySource(path, readFileSync(path)));
  const plan = await planReparam(before);
  const after = cleanModel(applyPlan(before, plan).model).model;
  const [old, now] = [plan.before.macs, plan.after.macs];
  return {
    before,
    after,
    macs: old === undefined || now === undefined ? undefined : [old, now],
    parameters: [plan.before.parameters, plan.after.parameters],
  };
}

function countOf(model: Model, ...operators: string[]): number {
  return model.graph.nodes.filter((node) => operators.includes(node.opType)).length;
}

async function run(
  model: Model,
  feeds: ReadonlyMap<string, Tensor>,
  optimization: "disabled" | "all" = "disabled",
): Promise<Float64Array[]> {
  const runtime = await loadNodeRuntime();
  const options = { threads: 1, optimization };
  const session = await runtime.createSession(await modelToBytes(model), options);
  const outputs = await session.run(feeds);
  await session.release();
  return [...outputs.values()].map(toNumbers);
}

function toNumbers(value: Tensor): Float64Array {
  return decodeFloat64(value.bytes, value.dtype);
}

function distance(a: Float64Array, b: Float64Array): number {
  expect(a.length).toBe(b.length);
  return Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0));
}

async function npy(path: string): Promise<Tensor> {
  return readTensor(await readNpy(memorySource(path, readFileSync(path))));
}

if (!folder) test("not run: rewrite acceptance, because there is no data folder", () => {});

describe.runIf(folder)("training form of a family", () => {
  test("the data folder holds training-form models", () => {
    expect(trained.length).toBeGreaterThan(70);
  });

  test.each(trained)("%s", async (name, path) => {
    const { before, after, macs, parameters } = await fuse(path);
    const deploy = join(dirname(path), "deploy.onnx");
    if (existsSync(deploy)) {
      const origin = await readModel(memorySource(deploy, readFileSync(deploy)));
      const layers = countOf(origin, "Conv", "Gemm", "MatMul");
      const extra = EXTRA_LAYERS[dirname(name)] ?? 0;
      expect(countOf(after, "Conv", "Gemm", "MatMul")).toBe(layers + extra);
      const norms = countOf(origin, "BatchNormalization") + (KEPT_NORMS[dirname(name)] ?? 0);
      expect(countOf(after, "BatchNormalization")).toBeLessThanOrEqual(norms);
    }
    expect(after.graph.nodes.length).toBeLessThan(before.graph.nodes.length);
    if (macs) expect(macs[1]).toBeLessThanOrEqual(macs[0]);
    expect(parameters[1]).toBeLessThanOrEqual(parameters[0]);

    const feeds = new Map([["x", await npy(join(dirname(path), "x.npy"))]]);
    const expected = await run(before, feeds);
    const truth = toNumbers(await npy(join(dirname(path), "y_train_f64.npy")));
    // The files' first output is the one the truth was recorded for.
    const own = distance(expected[0]!, truth);
    for (const optimization of ["disabled", "all"] as const) {
      const found = await run(after, feeds, optimization);
      const far = distance(found[0]!, truth);
      expect(far, optimization).toBeLessThanOrEqual(FURTHER_FROM_TRUTH * own);
    }
  });
});

/** What is left of the published models: [file part, convolutions, normalizations, refusals]. */
const PUBLISHED: readonly [string, number, number, number][] = [
  // Deploy form already.
  ["lolv1", 6, 0, 0],
  // 25 normalizations behind convolutions.
  ["version-slim-320.onnx", 42, 0, 0],
  ["version-slim-320_simplified", 42, 0, 0],
  ["yunet_n_320_320", 59, 0, 0],
];

describe.runIf(folder)("published model", () => {
  test.each(published)(
    "%s",
    async (name, path) => {
      const { before, after, macs, parameters } = await fuse(path);
      const known = PUBLISHED.find(([part]) => name.includes(part));
      if (known) {
        const plan = await planReparam(before);
        expect(countOf(after, "Conv")).toBe(known[1]);
        expect(countOf(after, "BatchNormalization")).toBe(known[2]);
        expect(plan.refusals.map(({ reason }) => reason)).toHaveLength(known[3]);
      }
      expect(after.graph.nodes.length).toBeLessThanOrEqual(before.graph.nodes.length);
      if (macs) expect(macs[1]).toBeLessThanOrEqual(macs[0]);
      expect(parameters[1]).toBeLessThanOrEqual(parameters[0]);

      const feeds = new Map<string, Tensor>();
      for (const input of graphInputs(before.graph)) {
        const declared = input.shape!.map((dim) => (typeof dim === "number" ? dim : 1));
        // The classifier's own input size; its file leaves it open.
        const shape = name.includes("ch_ppocr") ? [1, 3, 48, 192] : declared;
        const rng = createRng(11);
        const count = shape.reduce((a, b) => a * b, 1);
        feeds.set(
          input.name,
          float32Tensor(
            shape,
            Array.from({ length: count }, () => rng.normal()),
          ),
        );
      }
      const [expected, found] = [await run(before, feeds), await run(after, feeds)];
      const shapes = new Map([...feeds].map(([input, { shape }]) => [input, shape]));
      const reference = await createReference(before, await loadNodeRuntime(), shapes);
      const truth = [...(await reference.run(feeds)).values()].map(({ data }) => data);
      for (const [i, value] of expected.entries()) {
        const own = distance(value, truth[i]!);
        expect(distance(found[i]!, truth[i]!)).toBeLessThanOrEqual(FURTHER_FROM_TRUTH * own);
      }
    },
    120_000,
  );
});
