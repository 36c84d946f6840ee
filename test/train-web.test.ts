/**
 * @file Training on onnxruntime-web's WebAssembly, the runtime of browsers, run here in Node: the same step graph, the
 * same batches, and a net that learns as it does on onnxruntime-node.
 */

import * as web from "onnxruntime-web";
import { expect, test } from "vitest";
import { loadNodeRuntime } from "../src/host/ort-node.ts";
import { createRuntime, type Runtime } from "../src/runtime/session.ts";
import { type TrainOptions, type TrainResult, trainModel } from "../src/train/train-model.ts";
import { tinyDataset, tinyModel } from "./support/tiny-net.ts";

/**
 * Both runtimes add up at most some 2 000 products per output in different orders: 2 000 · 2⁻²⁴ ≈ 1.2e-4 of the sum of
 * magnitudes at the very worst, before the first update.
 */
const FIRST_LOSS_BOUND = 2000 * 2 ** -24;

function train(runtime: Runtime, extra: Partial<TrainOptions> = {}): Promise<TrainResult> {
  return trainModel({
    model: tinyModel(),
    dataset: tinyDataset(96),
    validation: tinyDataset(30, 2),
    runtime,
    epochs: 12,
    batch: 16,
    schedule: { learningRate: 0.2 },
    seed: 7,
    threads: 1,
    ...extra,
  });
}

const losses = ({ history }: TrainResult): number[] =>
  history.flatMap((record) => (record.type === "step" ? [record.loss] : []));

test("WebAssembly trains the same net from the same start", async () => {
  web.env.wasm.numThreads = 1;
  const onWeb = await train(createRuntime(web, "onnxruntime-web wasm"));
  const onNode = await train(await loadNodeRuntime(), { epochs: 1 });
  const [first] = losses(onNode);
  expect(Math.abs(losses(onWeb)[0]! - first!)).toBeLessThanOrEqual(FIRST_LOSS_BOUND * first!);
  const epochs = onWeb.history.filter((record) => record.type === "epoch");
  expect(epochs[11]!.loss).toBeLessThan(0.5 * epochs[0]!.loss);
  expect(epochs[11]!.validationAccuracy).toBeGreaterThan(0.9); // chance is 1/3
});
