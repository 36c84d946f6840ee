/**
 * @file Trains the checkpoint that is part of the repository, examples/data/repvgg-mnist.pth, which `npm start` shows.
 * Run: `npx tsx examples/train-default.ts [EPOCHS] [OUT.pth]`. Its numbers are in examples/data/README.md.
 */

import { fileURLToPath } from "node:url";
import { trainFile } from "../src/host/train-file.ts";
import { trainingText } from "../src/report/training.ts";
import { MNIST_NORMALIZATION, mnistFolder, SMALL_MNIST_ARCH } from "./mnist-model.ts";

const [epochs = "8", out = fileURLToPath(new URL("data/repvgg-mnist.pth", import.meta.url))] =
  process.argv.slice(2);

const result = await trainFile({
  net: () => SMALL_MNIST_ARCH,
  dataFolder: mnistFolder(),
  outPath: out,
  force: true,
  epochs: Number(epochs),
  batch: 64,
  schedule: { learningRate: 0.1, warmupEpochs: 0.1 },
  optimizer: { type: "sgd", momentum: 0.9, nesterov: true, weightDecay: 1e-4 },
  augment: { cropPadding: 2 },
  normalization: MNIST_NORMALIZATION,
  threads: 2,
  seed: 1,
  onEpoch: ({ epoch, loss, validationAccuracy = 0 }) => {
    const percent = (100 * validationAccuracy).toFixed(2);
    console.log(`epoch ${epoch}: loss ${loss.toFixed(4)}, test images ${percent} %`);
  },
});
console.log(trainingText(result).join("\n"));
