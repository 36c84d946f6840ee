/** @file What a data set is: labelled images by number. Node's readers of folders and files are in `host/data/`. */

import type { Rng } from "../core/rng.ts";
import type { Shape } from "../core/tensor.ts";

export interface Sample {
  /** `[channels, height, width]` in C order. Bytes are scaled to [0, 1]; floats are taken as they are. */
  readonly image: Uint8Array | Float32Array;
  /** 0 … classCount − 1 */
  readonly label: number;
}

export interface Dataset {
  /** For messages: a path. */
  readonly name: string;
  readonly size: number;
  /** `[channels, height, width]` of every sample. */
  readonly shape: Shape;
  readonly classCount: number;
  /** For messages: what sample `index` is called, e.g. its file. */
  sampleName(index: number): string;
  /**
   * One sample; undefined for one that cannot be decoded, which is skipped and counted.
   *
   * @param rng for readers that crop at random; undefined in evaluation
   */
  load(index: number, rng?: Rng): Sample | undefined | Promise<Sample | undefined>;
}

/** A data set in memory. */
export function memoryDataset(
  name: string,
  shape: Shape,
  classCount: number,
  samples: readonly Sample[],
): Dataset {
  return {
    name,
    shape,
    classCount,
    size: samples.length,
    sampleName: (index) => `${name}[${index}]`,
    load: (index) => samples[index],
  };
}
