/**
 * @file A training run of ours, repeated by PyTorch: gradients by parameter name, running statistics after a step, the
 * loss curve of 20 steps, and the weights at its end.
 *
 * The truth is PyTorch in float64. PyTorch in float32 shows what float32 costs; ours may be off by eight times that
 * (sums in another order) or by the stated floor, whichever is larger.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bytesOf, float32View } from "../../src/core/dtype.ts";
import { type LazyTensor, lazyTensor, type Tensor, tensor } from "../../src/core/tensor.ts";
import { writeNpy } from "../../src/formats/npy/write-npy.ts";
import { writePytorch } from "../../src/formats/pytorch/write-pytorch.ts";
import { createFileSink } from "../../src/host/file-sink.ts";
import { loadNodeRuntime } from "../../src/host/ort-node.ts";
import { batches } from "../../src/train/batches.ts";
import type { OptimizerOptions } from "../../src/train/optimizers.ts";
import { buildStepGraph } from "../../src/train/step-graph.ts";
import { type StepRecord, trainModel } from "../../src/train/train-model.ts";
import {
  gatherFlat,
  scalarTensor,
  stateDictOf,
  vectorTensor,
} from "../../src/train/trained-state.ts";
import { TINY_ARCH, tinyDataset, tinyModel } from "../support/tiny-net.ts";
import { findPythons, runPython } from "./pythons.ts";

const BATCH = 16;
const STEPS = 20;
const SMOOTHING = 0.1;
const SEED = 3;
const RUN_MARGIN = 8;
/** float32 sums of a few hundred terms. */
const FLOOR = 2e-6;

interface Pair {
  readonly ours: { readonly name: string; readonly distance: number };
  readonly torch: { readonly name: string; readonly distance: number };
}

interface Report {
  readonly names: boolean;
  readonly gradient: Pair;
  readonly statistics: Pair;
  readonly end: Pair;
  readonly losses: { readonly ours: number; readonly torch: number; readonly steps: number };
  readonly counters: readonly number[];
  readonly expectedCounters: number;
}

const OPTIMIZERS: readonly OptimizerOptions[] = [
  { type: "sgd", momentum: 0.9, nesterov: true, weightDecay: 1e-2 },
  { type: "adamw", beta1: 0.9, beta2: 0.99, epsilon: 1e-3, weightDecay: 1e-2 },
];

const pythons = findPythons();
const folders = new Map<string, string>();

async function writeState(
  path: string,
  tensors: Iterable<readonly [string, LazyTensor]>,
): Promise<void> {
  const sink = await createFileSink(path, { force: true });
  await writePytorch(
    [...tensors].map(([name, value]) => ({ name, tensor: value })),
    sink,
  );
  await sink.close();
}

/** Trains, and writes down everything PyTorch needs to do the same. */
async function record(optimizer: OptimizerOptions, folder: string): Promise<void> {
  const runtime = await loadNodeRuntime();
  const model = tinyModel(5);
  const dataset = tinyDataset(BATCH * STEPS);
  const normalization = { mean: [0.5], std: [0.5] };
  const schedule = { learningRate: optimizer.type === "sgd" ? 0.05 : 0.002, warmupEpochs: 0.25 };
  const training = { seed: SEED, epoch: 0, augment: {}, position: 0 };
  const images: Float32Array[] = [];
  const labels: bigint[] = [];
  for await (const made of batches({ dataset, batch: BATCH, normalization, training })) {
    images.push(made.images);
    labels.push(...made.labels);
  }
  const loss = { type: "cross-entropy", smoothing: SMOOTHING } as const;
  const graph = await buildStepGraph({
    model,
    batch: BATCH,
    loss,
    optimizer,
    exposeGradient: true,
  });
  const session = await runtime.createSession(graph.model, { optimization: "all" });
  const inputs = new Map<string, Tensor>();
  for (const name of session.inputNames) inputs.set(name, scalarTensor(1));
  for (const [name, size] of graph.state) inputs.set(name, vectorTensor(new Float32Array(size)));
  inputs.set("parameters", vectorTensor(await gatherFlat(model, graph.layout.parameters)));
  inputs.set("statistics", vectorTensor(await gatherFlat(model, graph.layout.statistics)));
  inputs.set(graph.input, {
    dtype: "float32",
    shape: graph.inputShape,
    bytes: bytesOf(images[0]!),
  });
  const firstLabels = BigInt64Array.from(labels.slice(0, BATCH));
  inputs.set("target", tensor("int64", [BATCH], firstLabels));
  const outputs = await session.run(inputs);
  await session.release();
  const pieces = (entries: typeof graph.layout.parameters, output: string) => {
    const flat = float32View(outputs.get(output)!.bytes);
    return entries.map(({ name, shape, offset, size }) => {
      const values = flat.slice(offset, offset + size);
      return [name, lazyTensor(tensor("float32", shape, values))] as const;
    });
  };
  const options = {
    model,
    dataset,
    runtime,
    epochs: 1,
    batch: BATCH,
    normalization,
    optimizer,
    seed: SEED,
  };
  const result = await trainModel({ ...options, schedule, labelSmoothing: SMOOTHING });
  const steps = result.history.filter((entry): entry is StepRecord => entry.type === "step");

  await writeState(join(folder, "start.pth"), stateDictOf(model, 0).tensors);
  await writeState(join(folder, "gradient.pth"), pieces(graph.layout.parameters, "gradient"));
  await writeState(
    join(folder, "after_one.pth"),
    pieces(graph.layout.statistics, "statistics_next"),
  );
  await writeState(join(folder, "end.pth"), result.state.tensors);
  const all = Float32Array.from(images.flatMap((part) => [...part]));
  writeFileSync(
    join(folder, "images.npy"),
    writeNpy(tensor("float32", [BATCH * STEPS, 1, 16, 16], all)),
  );
  writeFileSync(
    join(folder, "labels.npy"),
    writeNpy(tensor("int64", [labels.length], BigInt64Array.from(labels))),
  );
  const groups = Object.fromEntries(TINY_ARCH.groups.map((group, layer) => [layer, group]));
  const run = {
    arch: { ...TINY_ARCH, groups },
    batch: BATCH,
    smoothing: SMOOTHING,
    optimizer,
    rates: steps.map((step) => step.learningRate),
    losses: steps.map((step) => step.loss),
  };
  writeFileSync(join(folder, "run.json"), JSON.stringify(run));
}

beforeAll(async () => {
  if (pythons.length === 0) {
    console.log("PyTorch training: not run, no Python with torch and numpy was found.");
    return;
  }
  for (const optimizer of OPTIMIZERS) {
    const folder = mkdtempSync(join(tmpdir(), "reparam-train-"));
    folders.set(optimizer.type, folder);
    await record(optimizer, folder);
  }
});

afterAll(() => {
  for (const folder of folders.values()) rmSync(folder, { recursive: true, force: true });
});

test("there is an arch with groups and an identity branch to train", () => {
  expect(Math.max(...TINY_ARCH.groups)).toBeGreaterThan(1);
  expect(TINY_ARCH.stageBlocks[0]).toBeGreaterThan(1);
});

describe.each(pythons)("PyTorch $torch", (python) => {
  test.each(OPTIMIZERS.map((optimizer) => optimizer.type))("%s", (type) => {
    const report = JSON.parse(runPython(python, "train_check.py", [folders.get(type)!])) as Report;
    const limit = (torch: number): number => Math.max(RUN_MARGIN * torch, FLOOR);
    const detail = JSON.stringify(report);
    expect(report.names, detail).toBe(true);
    for (const pair of [report.gradient, report.statistics, report.end]) {
      expect(pair.ours.distance, detail).toBeLessThanOrEqual(limit(pair.torch.distance));
    }
    expect(report.losses.steps).toBe(STEPS);
    expect(report.losses.ours, detail).toBeLessThanOrEqual(limit(report.losses.torch));
    // The yardstick must be able to fail: even the weight with the most cancellation is known to better than 1 %.
    expect(limit(report.gradient.torch.distance)).toBeLessThan(1e-2);
    expect(report.counters).toEqual([report.expectedCounters]);
  });
});
