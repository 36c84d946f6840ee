/** @file A lazy tensor over a strided view of stored elements: contiguous parts are plain range reads. */

import type { ByteSource } from "../core/byte-source.ts";
import { DTYPE_BYTES, type DType } from "../core/dtype.ts";
import { elementCount, type LazyTensor, type Shape } from "../core/tensor.ts";
import { assertRange, readRange } from "./read-range.ts";

export interface StridedView {
  readonly dtype: DType;
  readonly shape: Shape;
  /** In elements, none negative. The view lies inside the source: the caller has checked. */
  readonly strides: readonly number[];
  /** In elements. */
  readonly offset: number;
  /** For messages. */
  readonly what: string;
}

/** C-order strides in elements: `[3, 4] → [4, 1]`. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= Math.max(1, shape[i]!);
  }
  return strides;
}

/**
 * The view as a lazy tensor in logical (C) order.
 * A non-contiguous range reads the span of the source that covers it, then gathers.
 *
 * @throws bad-data from `read` when a range lies outside the tensor or the source
 */
export function stridedTensor(source: ByteSource, view: StridedView): LazyTensor {
  const { dtype, shape, offset, what } = view;
  const size = DTYPE_BYTES[dtype];
  const count = elementCount(shape);
  const dense = contiguousStrides(shape);
  // The stride of a dimension of one element is never used, and PyTorch stores anything there.
  const isContiguous = shape.every((n, i) => n === 1 || view.strides[i] === dense[i]);
  return {
    dtype,
    shape,
    read: async (start = 0, end = count, into) => {
      assertRange({ name: source.name, byteLength: count }, start, end, `${what}: elements`);
      if (start === end) return new Uint8Array(0);
      if (isContiguous)
        return readRange(source, (offset + start) * size, (offset + end) * size, what, into);
      const [low, high] = coveringSpan(view, dense, start, end);
      const bytes = await readRange(source, low * size, high * size, what);
      return gather(bytes, view, dense, start, end, low);
    },
  };
}

/** The source elements `[low, high)` that hold logical elements `[start, end)`, and others. */
function coveringSpan(
  view: StridedView,
  dense: readonly number[],
  start: number,
  end: number,
): [number, number] {
  let low = view.offset;
  let span = 0;
  let first = start;
  let last = end - 1;
  let differs = false;
  view.shape.forEach((n, i) => {
    const stride = view.strides[i]!;
    if (differs) {
      span += (n - 1) * stride;
      return;
    }
    const from = Math.floor(first / dense[i]!);
    const to = Math.floor(last / dense[i]!);
    low += from * stride;
    span += (to - from) * stride;
    differs = from !== to;
    first -= from * dense[i]!;
    last -= to * dense[i]!;
  });
  return [low, low + span + 1];
}

function gather(
  bytes: Uint8Array,
  view: StridedView,
  dense: readonly number[],
  start: number,
  end: number,
  low: number,
): Uint8Array {
  const { shape, strides } = view;
  const size = DTYPE_BYTES[view.dtype];
  const result = new Uint8Array((end - start) * size);
  const index = new Array<number>(shape.length);
  let at = view.offset - low;
  let rest = start;
  for (let i = 0; i < shape.length; i++) {
    index[i] = Math.floor(rest / dense[i]!);
    rest -= index[i]! * dense[i]!;
    at += index[i]! * strides[i]!;
  }
  const last = shape.length - 1;
  for (let to = 0; to < result.length; ) {
    for (let b = 0; b < size; b++) result[to + b] = bytes[at * size + b]!;
    to += size;
    // Advance like an odometer: the last dimension first, carrying to the left.
    for (let i = last; i >= 0; i--) {
      at += strides[i]!;
      if (++index[i]! < shape[i]!) break;
      at -= shape[i]! * strides[i]!;
      index[i] = 0;
    }
  }
  return result;
}
