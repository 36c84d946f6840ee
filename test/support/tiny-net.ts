/** @file A small RepVGG-like net and learnable data for the training tests. */

import { createRng } from "../../src/core/rng.ts";
import type { Model } from "../../src/ir/graph.ts";
import { type Dataset, memoryDataset } from "../../src/train/dataset.ts";
import { buildRepVgg, createRepVgg, type RepVggArch } from "../../src/zoo/nets/index.ts";

/** Two blocks of 4 channels, one of them with an identity branch; 8 × 8 images of one channel, 3 classes. */
export const TINY_ARCH: RepVggArch = {
  layout: "repvgg",
  inputChannels: 1,
  stem: 4,
  stageBlocks: [2, 1, 1, 1],
  stageWidths: [4, 4, 8, 8],
  groups: [1, 1, 1, 2, 1, 1],
  classes: 3,
  se: "none",
  auxHeads: false,
};

export function tinyModel(seed = 1): Model {
  const state = createRepVgg(TINY_ARCH, "training", { seed, statistics: "fresh" });
  return buildRepVgg(TINY_ARCH, "training", state, { input: { height: 16, width: 16 } });
}

/** Images whose class is where their bright square stands: learnable in a few steps. */
export function tinyDataset(size: number, seed = 1, classCount = 3): Dataset {
  const rng = createRng(seed);
  const samples = Array.from({ length: size }, (_, n) => {
    const label = n % classCount;
    const image = Uint8Array.from({ length: 256 }, () => rng.integer(60));
    for (let h = 0; h < 5; h++) {
      for (let w = 0; w < 5; w++) image[(h + 2 + 4 * label) * 16 + w + 5] = 200 + rng.integer(50);
    }
    return { image, label };
  });
  return memoryDataset("squares", [1, 16, 16], classCount, samples);
}
