/** @file How the nets of the MNIST examples are trained. */

import { type TrainFileOptions, trainFile } from "../src/host/train-file.ts";
import { trainingText } from "../src/report/training.ts";
import type { RepVggArch } from "../src/zoo/nets/index.ts";
import { MNIST_NORMALIZATION, mnistFolder } from "./mnist-model.ts";

/** Trains `arch` from nothing, writes `outPath` (an existing file is overwritten) and prints the result. */
export async function trainOnMnist(
  arch: RepVggArch,
  outPath: string,
  options: Pick<TrainFileOptions, "epochs" | "augment" | "onStep" | "onEpoch">,
): Promise<void> {
  const result = await trainFile({
    net: () => arch,
    dataFolder: mnistFolder(),
    outPath,
    force: true,
    batch: 64,
    schedule: { learningRate: 0.1, warmupEpochs: 0.1 },
    optimizer: { type: "sgd", momentum: 0.9, nesterov: true, weightDecay: 1e-4 },
    normalization: MNIST_NORMALIZATION,
    threads: 2,
    seed: 1,
    ...options,
  });
  console.log(trainingText(result).join("\n"));
}
