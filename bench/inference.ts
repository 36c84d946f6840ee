/**
 * @file What fusing buys at run time: `npx tsx bench/inference.ts [rounds]`.
 *
 * Three sessions per net on onnxruntime-node, interleaved round by round in one process: the training form as written,
 * the training form after onnxruntime's own optimizer (level all), and our deploy form (level all). Medians of whole
 * runs; what counts are the ratios.
 */

import { setTimeout as pause } from "node:timers/promises";
import { createRng, type Rng } from "../src/core/rng.ts";
import { elementCount, float32Tensor, type LazyTensor, lazyTensor } from "../src/core/tensor.ts";
import { modelToBytes } from "../src/formats/onnx/write-model.ts";
import { loadNodeRuntime } from "../src/host/ort-node.ts";
import { createGraphBuilder, type GraphBuilder } from "../src/ir/builder.ts";
import type { Model } from "../src/ir/graph.ts";
import { applyPlan } from "../src/rewrite/apply.ts";
import { cleanModel } from "../src/rewrite/clean.ts";
import { applyInsertion } from "../src/rewrite/insert/apply-insertion.ts";
import { planInsertion } from "../src/rewrite/insert/plan-insertion.ts";
import { planReparam } from "../src/rewrite/plan.ts";
import type { Session } from "../src/runtime/session.ts";
import { buildRepVgg, createRepVgg, repVggArch } from "../src/zoo/nets/index.ts";

const ROUNDS = Number(process.argv[2] ?? 15);
const THREADS = 2;
const SIZE = 224;
const PAUSE_MS = 60;

async function fused(model: Model): Promise<Model> {
  return cleanModel(applyPlan(model, await planReparam(model)).model).model;
}

function repVgg(name: string): Model {
  const arch = repVggArch(name);
  return buildRepVgg(arch, "training", createRepVgg(arch, "training", { seed: 1 }));
}

/** RepVGG-A0's plain form with a diverse branch block in the place of every 3×3 convolution. */
async function diverseBranchNet(): Promise<Model> {
  const plain = await fused(repVgg("RepVGG-A0"));
  return applyInsertion(plain, await planInsertion(plain, { block: "dbb" })).model;
}

interface Sketch {
  readonly g: GraphBuilder;
  readonly rng: Rng;
}

function weights({ rng }: Sketch, shape: readonly number[], low: number, high: number): LazyTensor {
  const values = Array.from({ length: elementCount(shape) }, () => rng.uniform(low, high));
  return lazyTensor(float32Tensor(shape, values));
}

function batchNorm(sketch: Sketch, x: string, channels: number): string {
  const { g } = sketch;
  const ranges = [
    [0.2, 0.6],
    [-0.1, 0.1],
    [-0.1, 0.1],
    [0.5, 1.5],
  ] as const;
  const statistics = ranges.map(([low, high]) =>
    g.initializer("bn", weights(sketch, [channels], low, high)),
  );
  return g.node("BatchNormalization", [x, ...statistics]);
}

/** MobileOne's block: `branches` k×k convolutions, a 1×1 beside k > 1, and the identity where it fits. */
function mobileOneBlock(
  sketch: Sketch,
  x: string,
  conv: { inC: number; outC: number; kernel: number; stride: number; group: number },
): string {
  const { g } = sketch;
  const branch = (kernel: number): string => {
    const pad = (kernel - 1) / 2;
    const fanIn = (conv.inC / conv.group) * kernel * kernel;
    const bound = Math.sqrt(6 / fanIn);
    const shape = [conv.outC, conv.inC / conv.group, kernel, kernel];
    const weight = g.initializer("w", weights(sketch, shape, -bound, bound));
    const value = g.node("Conv", [x, weight], {
      group: conv.group,
      kernel_shape: [kernel, kernel],
      strides: [conv.stride, conv.stride],
      pads: [pad, pad, pad, pad],
    });
    return batchNorm(sketch, value, conv.outC);
  };
  const outputs = Array.from({ length: 4 }, () => branch(conv.kernel));
  if (conv.kernel > 1) outputs.push(branch(1));
  if (conv.inC === conv.outC && conv.stride === 1) outputs.push(batchNorm(sketch, x, conv.inC));
  return g.node("Relu", [outputs.reduce((sum, value) => g.node("Add", [sum, value]))]);
}

/** Depthwise and pointwise blocks with MobileOne-S0's depths, widths and four branches. */
function mobileOneS0(): Model {
  const g = createGraphBuilder({ name: "MobileOne-S0-like" });
  const sketch: Sketch = { g, rng: createRng(2) };
  const x = g.input("x", "float32", ["batch", 3, SIZE, SIZE]);
  let value = mobileOneBlock(sketch, x, { inC: 3, outC: 48, kernel: 3, stride: 2, group: 1 });
  let inC = 48;
  for (const [outC, blocks] of [
    [48, 2],
    [128, 8],
    [256, 10],
    [1024, 1],
  ] as const) {
    for (let i = 0; i < blocks; i++) {
      const stride = i === 0 ? 2 : 1;
      value = mobileOneBlock(sketch, value, { inC, outC: inC, kernel: 3, stride, group: inC });
      value = mobileOneBlock(sketch, value, { inC, outC, kernel: 1, stride: 1, group: 1 });
      inC = outC;
    }
  }
  g.output(g.node("GlobalAveragePool", [value]), "float32", ["batch", inC, 1, 1]);
  return g.build();
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

async function measure(name: string, training: Model): Promise<void> {
  const runtime = await loadNodeRuntime();
  const deploy = await fused(training);
  const files = [training, training, deploy];
  const bytes = await Promise.all(files.map(modelToBytes));
  const sessions: Session[] = [];
  for (const [i, file] of bytes.entries()) {
    const optimization = i === 0 ? "disabled" : "all";
    sessions.push(await runtime.createSession(file, { optimization, threads: THREADS }));
  }
  for (const batch of [1, 8]) {
    const rng = createRng(batch);
    const shape = [batch, 3, SIZE, SIZE];
    const image = float32Tensor(
      shape,
      Array.from({ length: elementCount(shape) }, () => rng.normal()),
    );
    const times: number[][] = sessions.map(() => []);
    for (let round = 0; round <= ROUNDS; round++) {
      for (const [i, session] of sessions.entries()) {
        // The session before keeps its threads spinning for a while after a run.
        await pause(PAUSE_MS);
        const begin = performance.now();
        await session.run(new Map([["x", image]]));
        // The first round warms up.
        if (round > 0) times[i]!.push(performance.now() - begin);
      }
    }
    const [asWritten, optimized, ours] = times.map(median) as [number, number, number];
    const row = [
      name.padEnd(18),
      String(batch).padStart(5),
      ...[asWritten, optimized, ours].map((ms) => ms.toFixed(1).padStart(9)),
      (ours / asWritten).toFixed(2).padStart(9),
      (ours / optimized).toFixed(2).padStart(9),
      `${(bytes[0]!.byteLength / 1e6).toFixed(1)} → ${(bytes[2]!.byteLength / 1e6).toFixed(1)}`.padStart(
        15,
      ),
      `${training.graph.nodes.length} → ${deploy.graph.nodes.length}`.padStart(11),
    ];
    console.log(row.join(" "));
  }
  await Promise.all(sessions.map((session) => session.release()));
}

console.log(
  "net                batch  training  ORT all    deploy  /training  /ORT all        MB       nodes     (ms, median)",
);
await measure("RepVGG-A0", repVgg("RepVGG-A0"));
await measure("MobileOne-S0-like", mobileOneS0());
await measure("A0 with DBB", await diverseBranchNet());
await measure("RepVGG-B1", repVgg("RepVGG-B1"));
await measure("RepVGG-B2g4", repVgg("RepVGG-B2g4"));
