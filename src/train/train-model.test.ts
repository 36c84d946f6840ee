import { beforeAll, describe, expect, test } from "vitest";
import { tinyDataset, tinyModel } from "../../test/support/tiny-net.ts";
import { type MemorySink, memorySink } from "../core/byte-sink.ts";
import { memorySource } from "../core/byte-source.ts";
import { isReparamError } from "../core/errors.ts";
import { float32Tensor, lazyTensor, readFloat64 } from "../core/tensor.ts";
import { loadNodeRuntime } from "../host/ort-node.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import type { Model, Node } from "../ir/graph.ts";
import type { Runtime } from "../runtime/session.ts";
import type { Dataset } from "./dataset.ts";
import { evaluateModel } from "./evaluate.ts";
import { type TrainOptions, type TrainRecord, trainModel } from "./train-model.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await loadNodeRuntime();
});

function options(extra: Partial<TrainOptions> = {}): TrainOptions {
  return {
    model: tinyModel(),
    dataset: tinyDataset(96),
    runtime,
    epochs: 2,
    batch: 16,
    schedule: { learningRate: 0.05, warmupEpochs: 0.5 },
    seed: 7,
    threads: 2,
    ...extra,
  };
}

/** Losses and norms, without times. */
const curve = (history: readonly TrainRecord[]): unknown[] =>
  history.map((record) => ({ ...record, elapsedMs: 0 }));

async function weights(state: Awaited<ReturnType<typeof trainModel>>["state"]): Promise<unknown> {
  const values: [string, number[]][] = [];
  for (const [name, tensor] of state.tensors) values.push([name, [...(await readFloat64(tensor))]]);
  return values;
}

describe("trainModel", () => {
  test("learns, and says so in its records", async () => {
    const dataset = tinyDataset(96);
    const result = await trainModel(
      options({ epochs: 12, schedule: { learningRate: 0.2 }, validation: tinyDataset(30, 2) }),
    );
    const epochs = result.history.filter((record) => record.type === "epoch");
    expect(epochs).toHaveLength(12);
    expect(result.history.filter((record) => record.type === "step")).toHaveLength(72); // 12 · 96/16
    expect(epochs[11]!.loss).toBeLessThan(0.5 * epochs[0]!.loss);
    expect(epochs[11]!.validationAccuracy).toBeGreaterThan(0.9);
    const { accuracy } = await evaluateModel({ model: result.model, dataset, runtime });
    expect(accuracy).toBeGreaterThan(0.9); // chance is 1/3
  });

  test("learns by mean squared error to the labels too", async () => {
    const schedule = { learningRate: 0.2 };
    const { history, model } = await trainModel(options({ epochs: 12, schedule, loss: "mse" }));
    const epochs = history.filter((record) => record.type === "epoch");
    expect(epochs[11]!.loss).toBeLessThan(0.5 * epochs[0]!.loss);
    const dataset = tinyDataset(96);
    const { accuracy } = await evaluateModel({ model, dataset, runtime });
    expect(accuracy).toBeGreaterThan(0.9); // chance is 1/3
    await expect(trainModel(options({ loss: "mse", labelSmoothing: 0.1 }))).rejects.toThrow(
      "labelSmoothing: is 0.1 with the loss mse",
    );
  });

  test("two runs with one seed are the same to the last bit; another seed is not", async () => {
    const augment = { cropPadding: 1, flip: true };
    const first = await trainModel(options({ augment }));
    const second = await trainModel(options({ augment }));
    const other = await trainModel(options({ augment, seed: 8 }));
    expect(curve(second.history)).toEqual(curve(first.history));
    expect(await weights(second.state)).toEqual(await weights(first.state));
    expect(curve(other.history)).not.toEqual(curve(first.history));
  });

  test.each([
    ["sgd", {}],
    [
      "adamw, accumulation, moving average",
      { optimizer: { type: "adamw" }, accumulationSteps: 2, emaDecay: 0.9 },
    ],
    ["dropout, accumulation", { model: dropoutModel(), accumulationSteps: 2 }],
  ] as const)("%s: a killed run goes on as if nothing had happened", async (_, extra) => {
    const whole = await trainModel(options(extra));
    const sinks: MemorySink[] = [];
    const stop = new AbortController();
    const checkpoint = {
      everySteps: 1,
      open: async () => {
        sinks.push(memorySink());
        return sinks.at(-1)!;
      },
    };
    const seen: TrainRecord[] = [];
    const killed = trainModel(
      options({
        ...extra,
        checkpoint,
        signal: stop.signal,
        onStep: (record) => {
          seen.push(record);
          if (record.step === 4) stop.abort(); // inside the run, after its checkpoint is due
        },
      }),
    );
    await expect(killed).rejects.toSatisfy((error: unknown) => isReparamError(error, "aborted"));
    const resume = memorySource("run.safetensors", sinks.at(-1)!.bytes());
    const rest = await trainModel(options({ ...extra, resume }));
    const steps = (history: readonly TrainRecord[]): unknown[] =>
      curve(history.filter((record) => record.type === "step"));
    expect([...curve(seen), ...steps(rest.history)]).toEqual(steps(whole.history));
    expect(await weights(rest.state)).toEqual(await weights(whole.state));
    if (whole.ema) expect(await weights(rest.ema!.state)).toEqual(await weights(whole.ema.state));
  });

  test("a checkpoint of a run with other options is refused, with the option", async () => {
    const sink = memorySink();
    await trainModel(
      options({
        epochs: 1,
        schedule: { learningRate: 0.05 },
        checkpoint: { open: async () => sink },
      }),
    );
    const resume = memorySource("run.safetensors", sink.bytes());
    const changed = { epochs: 1, schedule: { learningRate: 0.05 }, resume };
    await expect(trainModel(options({ ...changed, batch: 32 }))).rejects.toThrow(
      "run.safetensors: the run it belongs to had batch 16, this one has 32",
    );
    const broken = memorySource("run.safetensors", sink.bytes().slice(0, 200));
    await expect(trainModel(options({ ...changed, resume: broken }))).rejects.toSatisfy(
      (error: unknown) => isReparamError(error, "bad-data"),
    );
  });

  test("frozen prefixes stay bit for bit, their statistics too", async () => {
    const before = tinyModel();
    const result = await trainModel(
      options({ epochs: 1, schedule: { learningRate: 0.05 }, frozen: ["stage0.", "stage1."] }),
    );
    let changed = 0;
    for (const [name, tensor] of before.graph.initializers) {
      const now = await readFloat64(result.state.tensors.get(name)!);
      const same = (await readFloat64(tensor)).every((value, i) => value === now[i]);
      if (/^stage[01]\./.test(name)) expect(same, name).toBe(true);
      else if (!same) changed++;
    }
    expect(changed).toBeGreaterThan(20);
    await expect(trainModel(options({ frozen: ["stage9."] }))).rejects.toThrow(
      'frozen prefix "stage9."',
    );
  });

  test("accumulating two half batches is close to one whole batch where no BatchNorm sees the halves", async () => {
    const model = linearModel();
    const whole = await trainModel(
      options({ model, epochs: 1, batch: 32, schedule: { learningRate: 0.05 } }),
    );
    const halves = await trainModel(
      options({
        model,
        epochs: 1,
        batch: 16,
        accumulationSteps: 2,
        schedule: { learningRate: 0.05 },
      }),
    );
    const a = await readFloat64(whole.state.tensors.get("weight")!);
    const b = await readFloat64(halves.state.tensors.get("weight")!);
    // The same sums in another order: 3 steps, weights below 1, 32-term sums: well below 32 · 2⁻²⁴ · 3 ≈ 6e-6.
    for (const [i, value] of a.entries()) expect(Math.abs(value - b[i]!)).toBeLessThan(6e-6);
  });

  test("state dict has PyTorch's batch counters", async () => {
    const { state } = await trainModel(options({ epochs: 1, schedule: { learningRate: 0.05 } }));
    const counter = state.tensors.get("stage1.1.rbr_identity.num_batches_tracked");
    expect(counter?.dtype).toBe("int64");
    expect([...(await readFloat64(counter!))]).toEqual([6]); // 96 / 16 batches
  });
});

describe("what goes wrong is said before or where it happens, and the last checkpoint stays", () => {
  test("class counts", async () => {
    await expect(trainModel(options({ dataset: tinyDataset(64, 1, 2) }))).rejects.toThrow(
      "squares: it has 2 classes, the model's output has 3",
    );
  });

  test("a data set smaller than a step", async () => {
    await expect(trainModel(options({ dataset: tinyDataset(20), batch: 32 }))).rejects.toThrow(
      "it has 20 samples, expected at least the 32 of one step",
    );
  });

  test("a loss that is not a number", async () => {
    const sinks: MemorySink[] = [];
    const records: TrainRecord[] = [];
    const run = trainModel(
      options({
        schedule: { learningRate: 1e30, shape: "constant" },
        checkpoint: { everySteps: 1, open: async () => sinks[sinks.push(memorySink()) - 1]! },
        onStep: (record) => records.push(record),
      }),
    );
    await expect(run).rejects.toThrow(
      /training step \d: the (loss|gradient's norm) is .*Lower the learning rate/,
    );
    expect(sinks.at(-1)!.bytes().byteLength).toBeGreaterThan(1000);
    expect(records.every((record) => Number.isFinite(record.loss))).toBe(true);
  });

  test("operators without a gradient rule, all of them, before training", async () => {
    const g = createGraphBuilder();
    const input = g.input("x", "float32", ["batch", 1, 16, 16]);
    const weight = tinyModel().graph.initializers.get("stage0.rbr_dense.conv.weight")!;
    const y = g.node("Conv", [input, g.initializer("w", weight)], {}, "first");
    const z = g.node("Ceil", [g.node("Sin", [y], {}, "wave")], {}, "up");
    g.output(z, "float32", undefined);
    await expect(trainModel(options({ model: g.build() }))).rejects.toThrow(
      "training: no gradient rule for Sin, Ceil (2 nodes: wave, up)",
    );
  });

  test.each(["bias", "gamma"])(
    "a vector of another length than the channels: %s",
    async (which) => {
      const g = createGraphBuilder();
      const vector = (name: string, length: number): string =>
        g.initializer(name, lazyTensor(float32Tensor([length], new Float32Array(length).fill(1))));
      const weight = lazyTensor(float32Tensor([2, 1, 1, 1], Float32Array.of(1, 2)));
      const x = g.input("x", "float32", ["batch", 1, 16, 16]);
      const bias = vector("bias", which === "bias" ? 3 : 2);
      const y = g.node("Conv", [x, g.initializer("w", weight), bias], {}, "first");
      const names = ["gamma", "beta", "mean", "variance"];
      const vectors = names.map((name) => vector(name, name === which ? 3 : 2));
      const z = g.node("BatchNormalization", [y, ...vectors], {}, "norm");
      g.output(g.node("Flatten", [g.node("GlobalAveragePool", [z])]), "float32", undefined);
      const node = which === "bias" ? "first (Conv)" : "norm (BatchNormalization)";
      await expect(trainModel(options({ model: g.build() }))).rejects.toMatchObject({
        tag: "bad-data",
        message: `node ${node}: ${which} has shape [3], expected [2].`,
      });
    },
  );

  test("broken samples are skipped and counted with their names", async () => {
    const good = tinyDataset(100);
    const dataset: Dataset = {
      ...good,
      sampleName: (index) => `image ${index}`,
      load: async (index, rng) => (index % 25 === 3 ? undefined : good.load(index, rng)),
    };
    const { skipped, history } = await trainModel(
      options({ dataset, epochs: 1, schedule: { learningRate: 0.05 } }),
    );
    expect([...skipped].sort()).toEqual(["image 28", "image 3", "image 53", "image 78"]);
    expect(history.filter((record) => record.type === "step")).toHaveLength(6); // ⌊96 / 16⌋
  });

  test("samples that are all broken: no net that never took a step", async () => {
    const good = tinyDataset(64);
    const dataset: Dataset = { ...good, load: async () => undefined };
    await expect(trainModel(options({ dataset }))).rejects.toMatchObject({
      tag: "bad-data",
      message: expect.stringMatching(
        /not one step .*: 64 of 64 samples cannot be decoded \(.*, …\)/,
      ),
    });
  });

  test("a label out of range", async () => {
    const good = tinyDataset(96);
    const dataset: Dataset = { ...good, load: () => ({ image: new Uint8Array(256), label: 3 }) };
    await expect(trainModel(options({ dataset }))).rejects.toThrow(
      "the label is 3, expected 0 to 2",
    );
  });

  test.each([
    [{ epochs: 0 }, "epochs: is 0"],
    [{ batch: 1.5 }, "batch: is 1.5"],
    [{ schedule: { learningRate: -1 } }, "learningRate: is -1"],
    [{ schedule: { learningRate: 0.1, warmupEpochs: 9 } }, "warmupEpochs: is 9"],
    [{ labelSmoothing: 1 }, "labelSmoothing: is 1"],
    [{ optimizer: { type: "sgd", momentum: 2 } }, "optimizer sgd: momentum: is 2"],
  ] as const)("options that make no sense: %o", async (extra, message) => {
    await expect(trainModel(options(extra))).rejects.toThrow(message);
  });
});

/** The tiny net with a Dropout before its last matrix. */
function dropoutModel(): Model {
  const model = tinyModel();
  const { nodes } = model.graph;
  const last = nodes.findIndex((node) => node.opType === "Gemm");
  const [features = "", ...weights] = nodes[last]!.inputs;
  const dropout: Node = {
    ...nodes[last]!,
    opType: "Dropout",
    name: "drop",
    inputs: [features],
    outputs: ["dropped"],
    attributes: new Map(),
  };
  const after = { ...nodes[last]!, inputs: ["dropped", ...weights] };
  const changed = [...nodes.slice(0, last), dropout, after, ...nodes.slice(last + 1)];
  return { ...model, graph: { ...model.graph, nodes: changed } };
}

/** Flatten and one matrix: no BatchNormalization. */
function linearModel(): TrainOptions["model"] {
  const g = createGraphBuilder();
  const input = g.input("x", "float32", ["batch", 1, 16, 16]);
  const flat = g.node("Flatten", [input], { axis: 1 });
  const lazy = tinyModel().graph.initializers.get("stage3.0.rbr_dense.conv.weight")!; // 8 · 4 · 9 = 288 numbers
  const part = { dtype: lazy.dtype, shape: [256, 1], read: () => lazy.read(0, 256) };
  const wide = { dtype: lazy.dtype, shape: [256, 3], read: async () => tripled(await part.read()) };
  g.output(g.node("MatMul", [flat, g.initializer("weight", wide)], {}, "y"), "float32", undefined);
  return g.build();
}

/** Three columns from one: v, 2v and −v, in rows. */
function tripled(bytes: Uint8Array): Uint8Array {
  const values = new Float32Array(bytes.slice().buffer);
  const wide = Float32Array.from(
    { length: 3 * values.length },
    (_, i) => values[Math.floor(i / 3)]! * [0.1, 0.2, -0.1][i % 3]!,
  );
  return new Uint8Array(wide.buffer);
}
