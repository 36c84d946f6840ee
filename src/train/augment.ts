/** @file Random crop and flip, and normalisation into a batch. */

import type { Rng } from "../core/rng.ts";
import type { Shape } from "../core/tensor.ts";
import type { Sample } from "./dataset.ts";

export interface AugmentOptions {
  /** Pad by this many zero pixels on each side, then crop the original size at random. Default 0. */
  readonly cropPadding?: number;
  /** Mirror left and right with probability ½. Default false. */
  readonly flip?: boolean;
}

export interface Normalization {
  /** Per channel, subtracted from values in [0, 1]. */
  readonly mean: readonly number[];
  /** Per channel, divided by. */
  readonly std: readonly number[];
}

/** ImageNet's statistics for three channels, as every published RepVGG was trained with; else ½ and ½. */
export function defaultNormalization(channels: number): Normalization {
  return channels === 3
    ? { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }
    : { mean: Array<number>(channels).fill(0.5), std: Array<number>(channels).fill(0.5) };
}

/** Writes one normalised sample at `offset`. Pixels from outside the image are black, which is normalised too. */
export function writeSample(
  into: Float32Array,
  offset: number,
  sample: Sample,
  shape: Shape,
  { mean, std }: Normalization,
  augment: AugmentOptions,
  rng: Rng | undefined,
): void {
  const [channels = 0, height = 0, width = 0] = shape;
  const { cropPadding = 0, flip = false } = augment;
  const shift = (): number => (rng ? rng.integer(2 * cropPadding + 1) - cropPadding : 0);
  const [top, left] = cropPadding > 0 ? [shift(), shift()] : [0, 0];
  const mirrored = flip && rng !== undefined && rng.next() < 0.5;
  const unit = sample.image instanceof Uint8Array ? 1 / 255 : 1;
  const { image } = sample;
  for (let c = 0; c < channels; c++) {
    const factor = 1 / std[c]!;
    const black = -mean[c]! * factor;
    const scale = unit * factor;
    for (let h = 0; h < height; h++) {
      const row = (c * height + h) * width + offset;
      const y = h + top;
      if (y < 0 || y >= height) {
        into.fill(black, row, row + width);
        continue;
      }
      const source = (c * height + y) * width;
      for (let w = 0; w < width; w++) {
        const x = (mirrored ? width - 1 - w : w) + left;
        into[row + w] = x < 0 || x >= width ? black : image[source + x]! * scale + black;
      }
    }
  }
}
