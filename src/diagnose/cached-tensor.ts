/** @file A lazy tensor that keeps what was read: hypotheses about one block read the same few rows again and again. */

import { DTYPE_BYTES } from "../core/dtype.ts";
import { elementCount, type LazyTensor } from "../core/tensor.ts";

/** Tensors up to this size are read once and whole (batch norms, pointwise kernels): 256 KiB of float32. */
const WHOLE_ELEMENTS = 2 ** 16;
/** Ranges kept of a larger tensor. */
const MAX_RANGES = 64;

export function cachedTensor(tensor: LazyTensor): LazyTensor {
  const count = elementCount(tensor.shape);
  const size = DTYPE_BYTES[tensor.dtype];
  let whole: Promise<Uint8Array> | undefined;
  const ranges = new Map<string, Promise<Uint8Array>>();
  return {
    ...tensor,
    read: async (start = 0, end = count) => {
      if (count <= WHOLE_ELEMENTS) {
        whole ??= tensor.read();
        return (await whole).subarray(start * size, end * size);
      }
      if (end - start > WHOLE_ELEMENTS) return tensor.read(start, end);
      const key = `${start}:${end}`;
      const known = ranges.get(key);
      if (known) return known;
      if (ranges.size >= MAX_RANGES) ranges.clear();
      const read = tensor.read(start, end);
      ranges.set(key, read);
      return read;
    },
  };
}
