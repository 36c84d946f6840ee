/** @file Mean, spread and range of a tensor, read in pieces; NaN and infinities are counted and left out of the rest. */

import { decodeFloat64 } from "../core/dtype.ts";
import { throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { elementCount, type LazyTensor } from "../core/tensor.ts";

export interface TensorStatistics {
  /** Of the finite elements; undefined when there is none. */
  readonly mean: number | undefined;
  readonly min: number | undefined;
  readonly max: number | undefined;
  /** √(mean of squares − square of mean), population standard deviation. */
  readonly deviation: number | undefined;
  readonly nanCount: number;
  readonly infinityCount: number;
}

/** Elements read at once: 2 MiB as float64. */
const CHUNK_ELEMENTS = 2 ** 18;

/** Undefined for complex numbers, which have no order. @throws bad-data (int64 beyond 2^53), aborted */
export async function tensorStatistics(
  tensor: LazyTensor,
  { signal }: TaskOptions = {},
): Promise<TensorStatistics | undefined> {
  if (tensor.dtype === "complex64" || tensor.dtype === "complex128") return undefined;
  const count = elementCount(tensor.shape);
  let [finite, nanCount, infinityCount] = [0, 0, 0];
  let [mean, squares] = [0, 0];
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let start = 0; start < count; start += CHUNK_ELEMENTS) {
    throwIfAborted(signal);
    const end = Math.min(count, start + CHUNK_ELEMENTS);
    const values = decodeFloat64(await tensor.read(start, end), tensor.dtype);
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      if (!Number.isFinite(value)) {
        if (Number.isNaN(value)) nanCount++;
        else infinityCount++;
        continue;
      }
      finite++;
      // Welford's update: no cancellation between a large mean and a small spread.
      const step = value - mean;
      mean += step / finite;
      squares += step * (value - mean);
      if (value < min) min = value;
      if (value > max) max = value;
    }
  }
  const some = finite > 0;
  return {
    mean: some ? mean : undefined,
    min: some ? min : undefined,
    max: some ? max : undefined,
    deviation: some ? Math.sqrt(squares / finite) : undefined,
    nanCount,
    infinityCount,
  };
}
