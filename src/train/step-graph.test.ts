import { beforeAll, describe, expect, test } from "vitest";
import { randomFloats } from "../../test/support/gradient-check.ts";
import { TINY_ARCH, tinyDataset, tinyModel } from "../../test/support/tiny-net.ts";
import { bytesOf, float32View } from "../core/dtype.ts";
import { createRng } from "../core/rng.ts";
import { type Tensor, tensor } from "../core/tensor.ts";
import { loadNodeRuntime } from "../host/ort-node.ts";
import type { Model } from "../ir/graph.ts";
import { createReference } from "../runtime/reference.ts";
import type { Runtime } from "../runtime/session.ts";
import { buildRepVgg, createRepVgg } from "../zoo/nets/index.ts";
import { batches } from "./batches.ts";
import { conv, findChannelBlock } from "./convolution.ts";
import { createEmitter } from "./emitter.ts";
import { decays } from "./parameters.ts";
import { buildStepGraph, type StepGraph, type StepGraphOptions } from "./step-graph.ts";
import { gatherFlat, scalarTensor, vectorTensor } from "./trained-state.ts";

const BATCH = 6;
const RATE = 0.125;
/** Relative to the largest term: a handful of float32 operations. */
const FEW_ROUNDINGS = 16 * 2 ** -24;

let runtime: Runtime;
let images: Float32Array;
let target: Tensor;
beforeAll(async () => {
  runtime = await loadNodeRuntime();
  const normalization = { mean: [0.5], std: [0.5] };
  const made = await batches({ dataset: tinyDataset(BATCH), batch: BATCH, normalization }).next();
  images = made.value!.images;
  target = { dtype: "int64", shape: [BATCH], bytes: bytesOf(made.value!.labels) };
});

const base = (extra: Partial<StepGraphOptions> = {}): StepGraphOptions => ({
  model: tinyModel(),
  batch: BATCH,
  loss: { type: "cross-entropy" },
  optimizer: { type: "sgd" },
  exposeGradient: true,
  ...extra,
});

type Vectors = Map<string, Float32Array>;

/** Runs one step from the model's weights, with random optimizer state. */
async function runStep(
  options: StepGraphOptions,
  given: Vectors = new Map(),
): Promise<{ graph: StepGraph; before: Vectors; after: Vectors }> {
  const graph = await buildStepGraph(options);
  const rng = createRng(5);
  const before: Vectors = new Map();
  for (const [name, size] of graph.state) {
    const values = name.startsWith("second_moment")
      ? randomFloats(rng, [size], 1e-4, 1e-3)
      : randomFloats(rng, [size], -0.01, 0.01);
    before.set(name, Float32Array.from(values));
  }
  before.set("parameters", await gatherFlat(options.model, graph.layout.parameters));
  before.set("statistics", await gatherFlat(options.model, graph.layout.statistics));
  for (const [name, values] of given) before.set(name, values);
  const session = await runtime.createSession(graph.model, { optimization: "all", threads: 1 });
  const scalars = new Map([
    ["learning_rate", RATE],
    ["correction1", 0.5],
    ["correction2", 0.25],
    ["ema_decay", 0.75],
  ]);
  const inputs = new Map<string, Tensor>();
  for (const name of session.inputNames) {
    if (name === graph.input) {
      inputs.set(name, { dtype: "float32", shape: graph.inputShape, bytes: bytesOf(images) });
    } else if (name === "target") inputs.set(name, target);
    else if (scalars.has(name)) inputs.set(name, scalarTensor(scalars.get(name)!));
    else inputs.set(name, vectorTensor(before.get(name)!));
  }
  const outputs = await session.run(inputs);
  await session.release();
  return {
    graph,
    before,
    after: new Map([...outputs].map(([name, value]) => [name, float32View(value.bytes)])),
  };
}

function expectClose(
  found: Float32Array | undefined,
  expected: ArrayLike<number>,
  scale: number,
): void {
  expect(found?.length).toBe(expected.length);
  let worst = 0;
  for (let i = 0; i < expected.length; i++)
    worst = Math.max(worst, Math.abs(found![i]! - expected[i]!));
  expect(worst).toBeLessThanOrEqual(FEW_ROUNDINGS * scale);
}

const masked = (graph: StepGraph): Float64Array => {
  const mask = new Float64Array(graph.layout.parameterCount);
  for (const entry of graph.layout.parameters) {
    if (decays(entry)) mask.fill(1, entry.offset, entry.offset + entry.size);
  }
  return mask;
};

describe("optimizers, as PyTorch defines them", () => {
  test.each([true, false])("SGD, nesterov %s", async (nesterov) => {
    const optimizer = { type: "sgd", momentum: 0.75, nesterov, weightDecay: 0.5 } as const;
    const { graph, before, after } = await runStep(base({ optimizer }));
    const [p, v, g] = [before.get("parameters")!, before.get("velocity")!, after.get("gradient")!];
    const mask = masked(graph);
    const velocity = Float64Array.from(p, (_, i) => 0.75 * v[i]! + g[i]! + 0.5 * mask[i]! * p[i]!);
    const next = Float64Array.from(p, (_, i) => {
      const decayed = g[i]! + 0.5 * mask[i]! * p[i]!;
      return p[i]! - RATE * (nesterov ? decayed + 0.75 * velocity[i]! : velocity[i]!);
    });
    expectClose(after.get("velocity_next"), velocity, 4);
    expectClose(after.get("parameters_next"), next, 4);
  });

  test("AdamW", async () => {
    const optimizer = {
      type: "adamw",
      beta1: 0.75,
      beta2: 0.5,
      epsilon: 0.125,
      weightDecay: 0.5,
    } as const;
    const { graph, before, after } = await runStep(base({ optimizer }));
    const [p, g] = [before.get("parameters")!, after.get("gradient")!];
    const [m, v] = [before.get("first_moment")!, before.get("second_moment")!];
    const mask = masked(graph);
    const first = Float64Array.from(p, (_, i) => 0.75 * m[i]! + 0.25 * g[i]!);
    const second = Float64Array.from(p, (_, i) => 0.5 * v[i]! + 0.5 * g[i]! ** 2);
    const next = Float64Array.from(p, (_, i) => {
      const decayed = p[i]! * (1 - RATE * 0.5 * mask[i]!);
      // corrections 1 − β₁ᵗ = 0.5 and √(1 − β₂ᵗ) = 0.25 were fed
      return decayed - ((RATE / 0.5) * first[i]!) / (Math.sqrt(second[i]!) / 0.25 + 0.125);
    });
    expectClose(after.get("first_moment_next"), first, 4);
    expectClose(after.get("parameters_next"), next, 4);
  });

  test("weight decay leaves out vectors but for the identity branch's γ", async () => {
    const { graph } = await runStep(base());
    const names = graph.layout.parameters.filter(decays).map((entry) => entry.name);
    expect(names).toContain("stage1.1.rbr_identity.weight");
    expect(names).toContain("linear.weight");
    expect(names).not.toContain("linear.bias");
    expect(names).not.toContain("stage1.1.rbr_identity.bias");
    expect(names).not.toContain("stage1.1.rbr_dense.bn.weight");
  });

  test("clipping scales the gradient to the norm; the bias factor scales biases", async () => {
    const plain = { type: "sgd", momentum: 0, nesterov: false, weightDecay: 0 } as const;
    const { before, after, graph } = await runStep(
      base({ optimizer: plain, clipNorm: 0.25, biasRateFactor: 2 }),
    );
    const [p, g] = [before.get("parameters")!, after.get("gradient")!];
    const norm = Math.sqrt(g.reduce((sum, value) => sum + value * value, 0));
    expect(after.get("gradient_norm")![0]).toBeCloseTo(norm, 5); // float32 sum against float64: 1e-7 relative
    const factors = new Float64Array(p.length).fill(0.25 / norm);
    for (const { name, offset, size } of graph.layout.parameters) {
      if (name.endsWith("bias")) factors.fill(0.5 / norm, offset, offset + size);
    }
    const next = Float64Array.from(p, (value, i) => value - RATE * factors[i]! * g[i]!);
    expectClose(after.get("parameters_next"), next, 16);
  });

  test("the moving average follows weights and statistics", async () => {
    const { before, after } = await runStep(base({ ema: true }));
    for (const kind of ["parameters", "statistics"]) {
      const [ema, to] = [before.get(`ema_${kind}`)!, after.get(`${kind}_next`)!];
      const expected = Float64Array.from(to, (value, i) => 0.75 * ema[i]! + 0.25 * value);
      expectClose(after.get(`ema_${kind}_next`), expected, 4);
    }
  });
});

test("running statistics move by the momentum to the batch's mean and unbiased variance", async () => {
  const { graph, before, after } = await runStep(base({ statisticsMomentum: 0.25 }));
  const entry = (name: string) =>
    graph.layout.statistics.find((e) => e.name === `stage0.rbr_1x1.bn.${name}`)!;
  // stage0.rbr_1x1 with stride 2 sees every second pixel of every second row: 6 · 8 · 8 values
  const weight = graph.layout.parameters.find((e) => e.name === "stage0.rbr_1x1.conv.weight")!;
  const kernel = before.get("parameters")!.subarray(weight.offset, weight.offset + weight.size);
  const picked: number[] = [];
  for (let n = 0; n < BATCH; n++) {
    for (let h = 0; h < 16; h += 2)
      for (let w = 0; w < 16; w += 2) picked.push(images[n * 256 + h * 16 + w]!);
  }
  const mean = picked.reduce((a, b) => a + b) / picked.length;
  const unbiased = picked.reduce((a, b) => a + (b - mean) ** 2, 0) / (picked.length - 1);
  const next = after.get("statistics_next")!;
  for (let c = 0; c < 4; c++) {
    const k = kernel[c]!;
    // fresh statistics: mean 0, variance 1
    expect(Math.abs(next[entry("running_mean").offset + c]! - 0.25 * k * mean)).toBeLessThan(1e-6);
    expect(
      Math.abs(next[entry("running_var").offset + c]! - (0.75 + 0.25 * k * k * unbiased)),
    ).toBeLessThan(1e-6);
  }
});

/** ⟨gradient, d⟩ against (loss(p + h·d) − loss(p − h·d)) / 2h for the whole step, in float64; see gradient-check.ts. */
async function checkWholeStep(extra: Partial<StepGraphOptions>): Promise<void> {
  const options = base(extra);
  const graph = await buildStepGraph(options);
  const shapes = new Map(
    graph.model.graph.inputs.map((info) => [info.name, info.shape as number[]]),
  );
  const reference = await createReference(graph.model, runtime, shapes, { threads: 1 });
  const rng = createRng(9);
  const feeds = new Map<string, Float64Array | Tensor>();
  for (const [name, shape] of shapes) feeds.set(name, randomFloats(rng, shape, 0.5, 1));
  feeds.set(graph.input, Float64Array.from(images));
  feeds.set(
    "target",
    options.loss.type === "mse" && !options.loss.labels
      ? randomFloats(rng, graph.outputShape, -1, 1)
      : target,
  );
  const parameters = Float64Array.from(
    await gatherFlat(options.model, graph.layout.parameters),
    (v) => v + rng.uniform(0.05, 0.3),
  );
  const loss = async (moved: Float64Array) => {
    const results = await reference.run(new Map(feeds).set("parameters", moved));
    return { loss: results.get("loss")!.data[0]!, gradient: results.get("gradient")!.data };
  };
  const { gradient } = await loss(parameters);
  const { parameters: entries } = graph.layout;
  // The scale of the terms: a weight in front of a BatchNorm has a gradient that is their small difference.
  const largest = Math.max(
    ...entries.map(({ offset, size }) =>
      gradient.subarray(offset, offset + size).reduce((sum, g) => sum + Math.abs(g), 0),
    ),
  );
  for (const entry of entries) {
    const direction = new Float64Array(parameters.length);
    direction.set(randomFloats(rng, [entry.size], -1, 1), entry.offset);
    const h = 2 ** -15;
    const up = await loss(parameters.map((v, i) => v + h * direction[i]!));
    const down = await loss(parameters.map((v, i) => v - h * direction[i]!));
    const exact = direction.reduce((sum, d, i) => sum + gradient[i]! * d, 0);
    const numeric = (up.loss - down.loss) / (2 * h);
    // Truncation grows with the net's depth: h² = 1e-9 times a third derivative of up to 1000 times the first.
    const message = `${entry.name}: ${exact}, central difference ${numeric}`;
    expect(Math.abs(exact - numeric), message).toBeLessThanOrEqual(2e-6 * largest);
  }
  await reference.release();
}

describe("the gradient of a whole step against central differences in float64", () => {
  test("cross-entropy", () => checkWholeStep({}));
  test("label smoothing", () =>
    checkWholeStep({ loss: { type: "cross-entropy", smoothing: 0.1 } }));
  test("mean squared error", () => checkWholeStep({ loss: { type: "mse" } }));
  test("mean squared error to labels", () =>
    checkWholeStep({ loss: { type: "mse", labels: true } }));
});

test("what the trained output does not depend on is no part of the run", async () => {
  const layout = (model: Model) =>
    buildStepGraph(base({ model })).then(({ layout: { parameters, statistics } }) =>
      [...parameters, ...statistics].map((entry) => entry.name),
    );
  const arch = { ...TINY_ARCH, layout: "repvggplus", auxHeads: true } as const;
  const state = createRepVgg(arch, "training", { seed: 1, statistics: "fresh" });
  const input = { height: 16, width: 16 };
  const alone = await layout(buildRepVgg(arch, "training", state, { input }));
  const both = buildRepVgg(arch, "training", state, { input, aux: true });
  expect([...both.graph.initializers.keys()].filter((name) => name.includes("_aux"))).not.toEqual(
    [],
  );
  expect(await layout(both)).toEqual(alone);
});

test("the custom L2 penalty adds its value to the loss and its gradient to the gradient", async () => {
  const without = await runStep(base());
  const { graph, before, after } = await runStep(base({ customL2: 0.5 }));
  const entry = (name: string) => graph.layout.parameters.find((e) => e.name === name)!;
  const read = (name: string) => {
    const { offset, size } = entry(name);
    return before.get("parameters")!.subarray(offset, offset + size);
  };
  let penalty = 0;
  const expected = Float64Array.from(without.after.get("gradient")!);
  for (const { name, offset, shape } of graph.layout.parameters) {
    if (!name.endsWith("rbr_dense.conv.weight")) continue;
    const pointwise = entry(name.replace("rbr_dense", "rbr_1x1"));
    const dense = read(name);
    const k1 = read(pointwise.name);
    const t = 1 / Math.sqrt(1 + 1e-5); // fresh statistics: γ = 1, σ² = 1
    const filter = shape[1]! * 9;
    for (let i = 0; i < dense.length; i++) {
      const isCentre = i % 9 === 4;
      if (!isCentre) {
        penalty += dense[i]! ** 2;
        expected[offset + i]! += 0.5 * dense[i]!;
        continue;
      }
      const j = Math.floor(i / filter) * shape[1]! + Math.floor((i % filter) / 9);
      const sum = t * dense[i]! + t * k1[j]!;
      penalty += sum ** 2 / (2 * t * t);
      expected[offset + i]! += (0.5 * sum * t) / (2 * t * t);
      expected[pointwise.offset + j]! += (0.5 * sum * t) / (2 * t * t);
    }
  }
  const added = after.get("loss")![0]! - without.after.get("loss")![0]!;
  expect(Math.abs(added - 0.25 * penalty)).toBeLessThan(1e-5 * penalty); // float32 sum of some hundred squares
  expectClose(after.get("gradient"), expected, 16);
});

test("the blocked convolution, where the runtime has one, computes the ordinary one", async () => {
  const block = await findChannelBlock(runtime);
  if (block === undefined) return; // nothing to compare on this processor
  const rng = createRng(3);
  const run = async (channelBlock: number | undefined): Promise<Float32Array> => {
    const e = createEmitter({
      dtype: "float32",
      name: "conv",
      channelBlock,
      domains: new Map([["com.microsoft.nchwc", 1]]),
    });
    const x = e.input("x", "float32", [2, 32, 9, 7]);
    const w = e.input("w", "float32", [64, 32, 3, 3]);
    const options = {
      strides: [2, 1],
      dilations: [1, 1],
      beginPads: [1, 0],
      endPads: [1, 2],
      group: 1,
    };
    const y = conv(e, x, w, options);
    e.output(y, "float32");
    const model = e.builder.build();
    expect(model.graph.nodes.some((node) => node.opType === "ReorderInput")).toBe(
      channelBlock !== undefined,
    );
    const session = await runtime.createSession(model);
    const outputs = await session.run(
      new Map([
        ["x", tensor("float32", [2, 32, 9, 7], Float32Array.from(values.x))],
        ["w", tensor("float32", [64, 32, 3, 3], Float32Array.from(values.w))],
      ]),
    );
    await session.release();
    return float32View(outputs.get(y)!.bytes);
  };
  const values = {
    x: randomFloats(rng, [2, 32, 9, 7], -1, 1),
    w: randomFloats(rng, [64, 32, 3, 3], -1, 1),
  };
  const [plain, blocked] = [await run(undefined), await run(block)];
  // Two orders of a 288-term float32 sum of products below 1.
  for (const [i, value] of plain.entries())
    expect(Math.abs(value - blocked[i]!)).toBeLessThan(288 * 2 ** -23 * 17);
});
