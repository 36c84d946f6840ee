/** @file A lazy tensor in another float type, converted range by range as it is read. */

import { decodeFloat64, encodeFloat64, type FloatDType } from "../../core/dtype.ts";
import type { LazyTensor } from "../../core/tensor.ts";

/**
 * `source` as `dtype`: exact when widening, one rounding to nearest when narrowing.
 * Reading throws `bad-data` if the source holds no real numbers.
 */
export function castTensor(source: LazyTensor, dtype: FloatDType): LazyTensor {
  if (source.dtype === dtype) return source;
  return {
    dtype,
    shape: source.shape,
    read: async (start, end) =>
      encodeFloat64(decodeFloat64(await source.read(start, end), source.dtype), dtype),
  };
}
