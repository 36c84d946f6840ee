/**
 * @file Batches in a seeded order. What a sample looks like depends on the seed, the epoch and the sample alone, so a run
 * that is resumed in the middle of an epoch sees what it would have seen.
 */

import { ReparamError } from "../core/errors.ts";
import { createRng } from "../core/rng.ts";
import { elementCount } from "../core/tensor.ts";
import { type AugmentOptions, type Normalization, writeSample } from "./augment.ts";
import type { Dataset, Sample } from "./dataset.ts";

export interface Batch {
  /** `[batch, channels, height, width]` */
  readonly images: Float32Array;
  readonly labels: BigInt64Array;
  /** Real samples; fewer than the batch size only at the end of an evaluation, the rest is zeros. */
  readonly count: number;
  /** Entries of the epoch's order used up to here, skipped ones included. */
  readonly position: number;
}

export interface BatchOptions {
  readonly dataset: Dataset;
  readonly batch: number;
  readonly normalization: Normalization;
  /** Training: shuffle by `seed` and `epoch`, augment, drop the last incomplete batch. Otherwise in order, all. */
  readonly training?: {
    readonly seed: number;
    readonly epoch: number;
    readonly augment: AugmentOptions;
    /** Entries of the order to leave out: where a resumed run stopped. */
    readonly position: number;
  };
  /** Called for a sample that cannot be decoded. */
  readonly onSkipped?: (name: string) => void;
}

/** A well-mixed seed from several numbers, so that neighbouring epochs and samples share nothing. */
export function mixSeed(...parts: readonly number[]): number {
  let hash = 0x811c9dc5;
  for (const part of parts) {
    hash = Math.imul(hash ^ (part | 0), 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    hash ^= hash >>> 13;
  }
  return hash >>> 0;
}

/** Fisher–Yates. */
export function shuffledOrder(size: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: size }, (_, i) => i);
  const rng = createRng(seed);
  for (let i = size - 1; i > 0; i--) {
    const j = rng.integer(i + 1);
    const kept = order[i]!;
    order[i] = order[j]!;
    order[j] = kept;
  }
  return order;
}

export async function* batches(options: BatchOptions): AsyncGenerator<Batch> {
  const { dataset, batch, training } = options;
  const order = training
    ? shuffledOrder(dataset.size, mixSeed(training.seed, training.epoch))
    : Uint32Array.from({ length: dataset.size }, (_, i) => i);
  let position = training?.position ?? 0;
  while (position < order.length) {
    const made = await collect(options, order, position);
    position = made.position;
    if (made.count === batch || (!training && made.count > 0)) yield made;
  }
}

/** Fills one batch from `position` on, reading past samples that cannot be decoded. */
async function collect(options: BatchOptions, order: Uint32Array, start: number): Promise<Batch> {
  const { dataset, batch, normalization, training } = options;
  const sampleSize = elementCount(dataset.shape);
  const images = new Float32Array(batch * sampleSize);
  const labels = new BigInt64Array(batch);
  let position = start;
  let count = 0;
  while (count < batch && position < order.length) {
    const wanted = Array.from(order.subarray(position, position + batch - count));
    position += wanted.length;
    const loaded = wanted.map((index) => {
      const rng = training && createRng(mixSeed(training.seed, training.epoch, index, 1));
      return { index, rng, sample: dataset.load(index, rng) };
    });
    for (const { index, rng, sample: pending } of loaded) {
      const sample = await pending;
      if (!sample) {
        options.onSkipped?.(dataset.sampleName(index));
        continue;
      }
      assertSample(dataset, index, sample, sampleSize);
      const augment = training?.augment ?? {};
      const offset = count * sampleSize;
      writeSample(images, offset, sample, dataset.shape, normalization, augment, rng);
      labels[count++] = BigInt(sample.label);
    }
  }
  return { images, labels, count, position };
}

function assertSample(dataset: Dataset, index: number, sample: Sample, size: number): void {
  const where = dataset.sampleName(index);
  if (sample.image.length !== size) {
    throw new ReparamError("bad-data", {
      where,
      what: `the image has ${sample.image.length} values, expected ${size} (${dataset.shape.join(" × ")})`,
    });
  }
  const { label } = sample;
  if (Number.isInteger(label) && label >= 0 && label < dataset.classCount) return;
  throw new ReparamError("bad-data", {
    where,
    what: `the label is ${label}, expected 0 to ${dataset.classCount - 1}`,
  });
}
