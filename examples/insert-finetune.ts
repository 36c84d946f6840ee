/**
 * @file A plain net gets branches, is trained on, and becomes plain again: the deploy form of the MNIST checkpoint →
 * insert → the same answers → fine-tune → fuse → verify.
 * Run: `npx tsx examples/insert-finetune.ts [EPOCHS] [FOLDER]`; the folder keeps the models.
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  type BlockKind,
  convertFile,
  createFileSink,
  type Dataset,
  type Evaluation,
  evaluateModel,
  insertFile,
  loadNodeRuntime,
  type Model,
  openDataset,
  openModelPath,
  type Tensor,
  tensor,
  trainModel,
  type VerdictWord,
  verifyFiles,
  writeModel,
} from "../src/node.ts";
import { MNIST_NORMALIZATION, mnistFolder } from "./mnist-model.ts";

const CHECKPOINT = fileURLToPath(new URL("data/repvgg-mnist.pth", import.meta.url));

export interface StoryOptions {
  /** Where the models go. */
  readonly folder: string;
  readonly epochs: number;
  readonly block?: BlockKind;
  /** First so many images of each split; all by default. */
  readonly trainingImages?: number;
  readonly testImages?: number;
  readonly log?: (line: string) => void;
}

export interface Story {
  readonly plain: Evaluation;
  readonly inserted: Evaluation;
  readonly tuned: Evaluation;
  readonly fused: Evaluation;
  /** Inserted model against the plain one. */
  readonly insertion: VerdictWord | undefined;
  /** Fused model against the fine-tuned one. */
  readonly fusion: VerdictWord;
  /** Fused model against the plain one it started as. */
  readonly change: VerdictWord;
}

export async function insertAndFinetune(options: StoryOptions): Promise<Story> {
  const { folder, epochs, block = "dbb", log = () => {} } = options;
  const path = (name: string): string => join(folder, name);
  const runtime = await loadNodeRuntime();
  const data = await openDataset(mnistFolder());
  const training = first(data.training, options.trainingImages);
  const test = first(data.validation ?? data.training, options.testImages);
  const accuracyOf = async (name: string): Promise<Evaluation> => {
    const found = await withModel(path(name), (model) =>
      evaluateModel({ model, dataset: test, runtime, normalization: MNIST_NORMALIZATION }),
    );
    const percent = (100 * found.accuracy).toFixed(2);
    log(`  ${name.padEnd(14)} ${percent} % of ${found.count} test images`);
    return found;
  };

  log("A plain net: the deploy form of the trained checkpoint");
  await convertFile(CHECKPOINT, path("plain.onnx"), { force: true });
  const plain = await accuracyOf("plain.onnx");

  log(`Blocks put in (${block}), statistics from 256 training images`);
  const { blocks, parameters, verification } = await insertFile(
    path("plain.onnx"),
    path("inserted.onnx"),
    {
      block,
      force: true,
      runtime: async () => runtime,
      calibration: await firstImages(training, 256),
    },
  );
  log(`  ${blocks.length} blocks, ${parameters.before} → ${parameters.after} parameters`);
  log(`  the same function: ${verification?.verdict.word}`);
  const inserted = await accuracyOf("inserted.onnx");

  log(`Fine-tuned: ${training.size} images, epochs: ${epochs}`);
  await withModel(path("inserted.onnx"), async (model) => {
    const trained = await trainModel({
      model,
      dataset: training,
      runtime,
      epochs,
      batch: 64,
      schedule: { learningRate: 0.02, warmupEpochs: 0.1 },
      augment: { cropPadding: 2 },
      normalization: MNIST_NORMALIZATION,
      threads: 2,
      seed: 1,
      onEpoch: ({ epoch, loss }) => log(`  epoch ${epoch}: loss ${loss.toFixed(4)}`),
    });
    const sink = await createFileSink(path("tuned.onnx"), { force: true });
    await writeModel(trained.model, sink);
    await sink.close();
  });
  const tuned = await accuracyOf("tuned.onnx");

  log("Fused back: a plain net again");
  await convertFile(path("tuned.onnx"), path("fused.onnx"), { force: true });
  const fused = await accuracyOf("fused.onnx");
  const wordFor = async (from: string): Promise<VerdictWord> => {
    const result = await verifyFiles(path(from), path("fused.onnx"));
    const word = result.verification.verdict.word;
    log(`  fused.onnx against ${from}: ${word}`);
    return word;
  };
  return {
    ...{ plain, inserted, tuned, fused },
    insertion: verification?.verdict.word,
    fusion: await wordFor("tuned.onnx"),
    change: await wordFor("plain.onnx"),
  };
}

function first(dataset: Dataset, size = dataset.size): Dataset {
  return { ...dataset, size: Math.min(size, dataset.size) };
}

/** Weights are read when they are needed, so the file stays open until `use` is done. */
async function withModel<T>(path: string, use: (model: Model) => Promise<T>): Promise<T> {
  const { file, close } = await openModelPath(path);
  try {
    if (file.kind !== "onnx") throw new Error(`${path} is no ONNX model`);
    return await use(file.model);
  } finally {
    await close();
  }
}

/** Normalised as in training: the net's values are wanted as they will be. */
async function firstImages(dataset: Dataset, count: number): Promise<Tensor> {
  const [mean = 0] = MNIST_NORMALIZATION.mean;
  const [std = 1] = MNIST_NORMALIZATION.std;
  const values: number[] = [];
  for (let i = 0; i < count; i++) {
    const sample = await dataset.load(i);
    for (const pixel of sample?.image ?? []) values.push((pixel / 255 - mean) / std);
  }
  return tensor("float32", [count, ...dataset.shape], Float32Array.from(values));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [epochs = "2", folder = "insert-finetune"] = process.argv.slice(2);
  await mkdir(folder, { recursive: true });
  await insertAndFinetune({ folder, epochs: Number(epochs), log: console.log });
}
