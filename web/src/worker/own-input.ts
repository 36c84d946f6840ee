/** @file The input that the user gave: an array or an image, made to fit the model. */

import { blobSource } from "../../../src/core/byte-source.ts";
import { badData } from "../../../src/core/errors.ts";
import { readTensor, type Tensor } from "../../../src/core/tensor.ts";
import { readNpy } from "../../../src/formats/npy/read-npy.ts";
import { graphInputs, type Model } from "../../../src/ir/graph.ts";
import { imageTensor } from "./images.ts";

/** Larger arrays do not fit a browser's memory beside the networks. */
const MAX_INPUT_BYTES = 256 * 2 ** 20;
/** Where the model leaves its size open: what the papers' models were trained at. */
export const DEFAULT_SIZE = 224;

/** @throws bad-data */
export async function readInput(file: File, model: Model | undefined): Promise<Tensor> {
  if (/\.npy$/i.test(file.name)) {
    if (file.size > MAX_INPUT_BYTES) {
      throw badData(file.name, `is ${file.size} bytes, expected at most ${MAX_INPUT_BYTES}`);
    }
    return await readTensor(await readNpy(blobSource(file.name, file)));
  }
  const [, channels, height, width] = inputShape(model, DEFAULT_SIZE);
  return await imageTensor(file, channels!, height!, width!);
}

/** `[1, channels, height, width]` of the model's first input; open sizes become `size`. */
export function inputShape(model: Model | undefined, size: number): number[] {
  const shape = model && graphInputs(model.graph)[0]?.shape;
  const [, channels, height, width] = shape ?? [];
  const known = (dim: unknown, fallback: number): number =>
    typeof dim === "number" && dim > 0 ? dim : fallback;
  return [1, known(channels, 3), known(height, size), known(width, size)];
}
