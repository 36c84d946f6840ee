/** @file Both forms side by side on this machine: latency, and what they say to one image. */

import { planConversion } from "../../../src/convert/conversion.ts";
import { knownGraph } from "../../../src/convert/deploy-graph.ts";
import { graphOf } from "../../../src/convert/graph-of.ts";
import type { ModelFile } from "../../../src/convert/open.ts";
import { planCheckpoint } from "../../../src/convert/plan-checkpoint.ts";
import { decodeFloat64 } from "../../../src/core/dtype.ts";
import { ReparamError, throwIfAborted } from "../../../src/core/errors.ts";
import type { TaskOptions } from "../../../src/core/task.ts";
import type { Tensor } from "../../../src/core/tensor.ts";
import { graphInputs, type Model } from "../../../src/ir/graph.ts";
import type { Runtime } from "../../../src/runtime/session.ts";
import { generateInputs } from "../../../src/verify/inputs.ts";
import { imageTensor } from "./images.ts";
import { openSubject } from "./open-subject.ts";
import { inputShape } from "./own-input.ts";
import type { Calls, RaceForm, RaceView } from "./protocol.ts";
import { loadRuntime } from "./runtime.ts";

/** Runs of each form, fewer when they take longer than the time. */
const MAX_ROUNDS = 25;
const MIN_ROUNDS = 3;
const MAX_MS = 8000;
const TOP = 5;

export async function race(
  { training, deploy, provider, size, image }: Calls["race"]["params"],
  task: TaskOptions,
): Promise<RaceView> {
  const file = await openSubject(training);
  const first = graphOf(file);
  if (!first) {
    throw new ReparamError("refused", {
      where: file.name,
      what: "its blocks are known, but not the network around them, so it cannot be run",
      fix: "Export it to ONNX in PyTorch and drop that file",
    });
  }
  const second = deploy ? graphOf(await openSubject(deploy)) : await deployModel(file, task);
  if (!second) {
    const where = deploy?.file.name ?? "deploy form";
    throw new ReparamError("refused", {
      where,
      what: "the network around its blocks is not known",
    });
  }
  const runtime = await loadRuntime(provider);
  const shape = inputShape(first, size);
  const generated = generateInputs(first, { shape });
  const [input] = graphInputs(first.graph);
  if (image && input) {
    const [, channels, height, width] = shape;
    generated.set(input.name, await imageTensor(image, channels!, height!, width!));
  }
  const providers = provider === "webgpu" ? ["webgpu", "wasm"] : ["wasm"];
  const runners = [await runner(first, runtime, providers, generated)];
  try {
    runners.push(await runner(second, runtime, providers, generated));
    const times = await interleaved(runners, task);
    const forms = runners.map((one, i) => ({
      ...quartiles(times[i]!),
      top: topClasses(one.outputs()),
    }));
    const [a, b] = forms as [RaceForm, RaceForm];
    return {
      runtime: runtime.name,
      shape,
      rounds: times[0]!.length,
      image: image?.name,
      training: a,
      deploy: b,
    };
  } finally {
    for (const one of runners) await one.release();
  }
}

async function deployModel(file: ModelFile, task: TaskOptions): Promise<Model | undefined> {
  if (file.kind === "checkpoint") return knownGraph(file, (await planCheckpoint(file)).tensors);
  return (await planConversion(file, "onnx", task)).model;
}

interface Runner {
  run(): Promise<number>;
  outputs(): ReadonlyMap<string, Tensor>;
  release(): Promise<void>;
}

/** The runtime may optimize: that is how people deploy. */
async function runner(
  model: Model,
  runtime: Runtime,
  providers: readonly string[],
  inputs: ReadonlyMap<string, Tensor>,
): Promise<Runner> {
  const session = await runtime.createSession(model, { optimization: "all", providers });
  const names = graphInputs(model.graph).map((input) => input.name);
  const own = new Map([...inputs.values()].map((value, i) => [names[i]!, value]));
  let outputs: ReadonlyMap<string, Tensor> = new Map();
  return {
    run: async () => {
      const start = performance.now();
      outputs = await session.run(own);
      return performance.now() - start;
    },
    outputs: () => outputs,
    release: () => session.release(),
  };
}

/** A, B, A, B …: what else the machine does meets both alike. The first round warms up and is not counted. */
async function interleaved(runners: readonly Runner[], task: TaskOptions): Promise<number[][]> {
  const times = runners.map((): number[] => []);
  const start = performance.now();
  for (let round = 0; round <= MAX_ROUNDS; round++) {
    if (round > MIN_ROUNDS && performance.now() - start > MAX_MS) break;
    for (const [i, one] of runners.entries()) {
      throwIfAborted(task.signal);
      const elapsed = await one.run();
      if (round > 0) times[i]!.push(elapsed);
      // Lets a cancel message in.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    task.onProgress?.({ label: `round ${round} of ${MAX_ROUNDS}`, done: round, total: MAX_ROUNDS });
  }
  return times;
}

function quartiles(times: readonly number[]): Pick<RaceForm, "medianMs" | "lowMs" | "highMs"> {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.round((sorted.length - 1) * share)] ?? 0;
  return { lowMs: at(0.25), medianMs: at(0.5), highMs: at(0.75) };
}

/** Of the first output `[1, classes]`, as probabilities; empty for other networks. */
function topClasses(outputs: ReadonlyMap<string, Tensor>): RaceForm["top"] {
  const [output] = outputs.values();
  if (output?.shape.length !== 2 || (output.shape[1] ?? 0) < 2) return [];
  const logits = decodeFloat64(output.bytes, output.dtype).subarray(0, output.shape[1]);
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b);
  return [...powers]
    .map((power, index) => ({ index, probability: power / sum }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, TOP);
}
