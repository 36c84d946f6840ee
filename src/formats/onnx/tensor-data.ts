/** @file Lazy tensors over byte ranges of a file: plain elements, or varints that are decoded when read. */

import { BinaryReader } from "@bufbuild/protobuf/wire";
import { concatBytes } from "../../core/byte-sink.ts";
import type { ByteSource } from "../../core/byte-source.ts";
import { bytesOf, DTYPE_BYTES, type DType } from "../../core/dtype.ts";
import { badData, internalError } from "../../core/errors.ts";
import { elementCount, formatShape, type LazyTensor, type Shape } from "../../core/tensor.ts";
import { readExactly } from "./message-reader.ts";

/** Bytes `[start, end)` of a file. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Elements that stand in the file as they do in memory. The ranges together have the tensor's size. */
export function rangeTensor(
  source: ByteSource,
  ranges: readonly ByteRange[],
  dtype: DType,
  shape: Shape,
): LazyTensor {
  const size = DTYPE_BYTES[dtype];
  const count = elementCount(shape);
  return {
    dtype,
    shape,
    read: async (start = 0, end = count, into) => {
      assertElements(start, end, count);
      const [only] = ranges;
      if (!only || start === end) return new Uint8Array(0);
      if (ranges.length === 1) {
        return readExactly(source, only.start + start * size, only.start + end * size, into);
      }
      return (await readRanges(source, ranges)).subarray(start * size, end * size);
    },
  };
}

/** Elements written as varints (`int32_data`, `int64_data`, `uint64_data`), decoded when they are read. */
export function varintTensor(
  source: ByteSource,
  where: string,
  ranges: readonly ByteRange[],
  dtype: DType,
  shape: Shape,
): LazyTensor {
  const count = elementCount(shape);
  const size = DTYPE_BYTES[dtype];
  const wireBytes = ranges.reduce((sum, range) => sum + range.end - range.start, 0);
  // A varint takes 1 to 10 bytes: this bounds the memory that decoding takes by the file's size.
  if (wireBytes < count || wireBytes > 10 * count) {
    throw badData(
      where,
      `${wireBytes} bytes of varints for ${formatShape(shape)}, expected ${count} to ${10 * count}`,
    );
  }
  // Decoded once per burst of reads, and given up when memory is short.
  let decoded: WeakRef<Uint8Array> | undefined;
  return {
    dtype,
    shape,
    read: async (start = 0, end = count) => {
      assertElements(start, end, count);
      let bytes = decoded?.deref();
      if (!bytes) {
        bytes = decodeVarints(where, await readRanges(source, ranges), dtype, count);
        decoded = new WeakRef(bytes);
      }
      return bytes.subarray(start * size, end * size);
    },
  };
}

/** Smallest and largest value of the dtypes that `int32_data` and `uint64_data` hold; bit patterns for small floats. */
const VARINT_RANGES: Partial<Record<DType, readonly [min: bigint, max: bigint]>> = {
  bool: [0n, 1n],
  int8: [-128n, 127n],
  uint8: [0n, 255n],
  float8e4m3fn: [0n, 255n],
  float8e5m2: [0n, 255n],
  int16: [-32768n, 32767n],
  uint16: [0n, 65535n],
  float16: [0n, 65535n],
  bfloat16: [0n, 65535n],
  int32: [-2147483648n, 2147483647n],
  uint32: [0n, 4294967295n],
};

function decodeVarints(where: string, wire: Uint8Array, dtype: DType, count: number): Uint8Array {
  const reader = new BinaryReader(wire);
  const values = new BigInt64Array(count);
  try {
    // BigInt64Array keeps the low 64 bits, which are the bits of a uint64 as well.
    for (let i = 0; i < count; i++) values[i] = BigInt(reader.int64());
  } catch {
    throw badData(where, `its varints end before element ${count}`);
  }
  if (reader.pos !== reader.len) {
    throw badData(where, `more than ${count} varints, expected ${count}`);
  }
  if (dtype === "int64" || dtype === "uint64") return bytesOf(values);
  const [min, max] = VARINT_RANGES[dtype] ?? [0n, -1n];
  const size = DTYPE_BYTES[dtype];
  const bytes = new Uint8Array(count * size);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) {
    const value = values[i]!;
    if (value < min || value > max) {
      throw badData(where, `element ${i} is ${value}, expected ${min} to ${max} for ${dtype}`);
    }
    const number = Number(value);
    if (size === 1) view.setUint8(i, number);
    else if (size === 2) view.setUint16(2 * i, number, true);
    else view.setUint32(4 * i, number, true);
  }
  return bytes;
}

async function readRanges(source: ByteSource, ranges: readonly ByteRange[]): Promise<Uint8Array> {
  const [only] = ranges;
  if (only && ranges.length === 1) return readExactly(source, only.start, only.end);
  const parts: Uint8Array[] = [];
  for (const { start, end } of ranges) parts.push(await readExactly(source, start, end));
  return concatBytes(parts);
}

function assertElements(start: number, end: number, count: number): void {
  if (start < 0 || end < start || end > count) {
    throw internalError("tensor", `elements ${start} to ${end} of ${count} were asked for`);
  }
}
