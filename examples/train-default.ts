/**
 * @file Trains the checkpoint that is part of the repository, examples/data/repvgg-mnist.pth, which `npm start` shows.
 * Run: `npx tsx examples/train-default.ts [EPOCHS] [OUT.pth]`. Its numbers are in examples/data/README.md.
 */

import { fileURLToPath } from "node:url";
import { SMALL_MNIST_ARCH } from "./mnist-model.ts";
import { trainOnMnist } from "./mnist-training.ts";

const [epochs = "8", out = fileURLToPath(new URL("data/repvgg-mnist.pth", import.meta.url))] =
  process.argv.slice(2);

await trainOnMnist(SMALL_MNIST_ARCH, out, {
  epochs: Number(epochs),
  augment: { cropPadding: 2 },
  onEpoch: ({ epoch, loss, validationAccuracy = 0 }) => {
    const percent = (100 * validationAccuracy).toFixed(2);
    console.log(`epoch ${epoch}: loss ${loss.toFixed(4)}, test images ${percent} %`);
  },
});
