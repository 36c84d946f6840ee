/**
 * @file The fused weight and bias as lazy tensors: computed in float64 when read, a few rows at a time, and rounded
 * once. Reading a range costs the rows it touches and nothing else.
 */

import type { Affine } from "../algebra/affine.ts";
import { type Emission, weightShape } from "../algebra/emit.ts";
import { rowLoops } from "../algebra/loops/row-loops-wasm.ts";
import { type PreparedRows, prepareRows } from "../algebra/prepare-rows.ts";
import { DTYPE_BYTES, encodeFloat64, type FloatDType } from "../core/dtype.ts";
import { badData } from "../core/errors.ts";
import { firstNonFinite } from "../core/finite.ts";
import { withMemories } from "../core/memory.ts";
import { elementCount, type LazyTensor, type Shape } from "../core/tensor.ts";

export interface FusedKernel {
  readonly affine: Affine;
  readonly emission: Emission;
  /** `[outC, inC/group, ...kernelShape]` */
  readonly weight: LazyTensor;
  /** `[outC]` */
  readonly bias: LazyTensor;
}

export function fusedKernel(affine: Affine, emission: Emission, dtype: FloatDType): FusedKernel {
  return {
    affine,
    emission,
    weight: fusedWeight(affine, emission, dtype, weightShape(emission)),
    bias: {
      dtype,
      shape: [emission.outC],
      read: async (start = 0, end = emission.outC) => {
        const { values } = await affine.biases();
        return encodeFloat64(values.subarray(start, end), dtype);
      },
    },
  };
}

function fusedWeight(
  affine: Affine,
  emission: Emission,
  dtype: FloatDType,
  shape: Shape,
): LazyTensor {
  const rowLength = elementCount(shape.slice(1));
  return {
    dtype,
    shape,
    read: async (start = 0, end = elementCount(shape), into) => {
      if (end <= start || rowLength === 0) return new Uint8Array(0);
      const first = Math.floor(start / rowLength);
      const last = Math.ceil(end / rowLength);
      const byteLength = (end - start) * DTYPE_BYTES[dtype];
      const bytes = into ? into.subarray(0, byteLength) : new Uint8Array(byteLength);
      await withMemories(async ([memory]) => {
        const rows = await prepareRows(affine, emission, first, last, { bounds: false, memory });
        await encodeRows(rows, { first, last, start, end }, dtype, bytes);
      });
      return bytes;
    },
  };
}

/** Numbers computed at once: 128 KiB of float64, so that they are still in the processor's cache when rounded. */
const BLOCK_ELEMENTS = 2 ** 14;

interface Range {
  /** Rows. */
  readonly first: number;
  readonly last: number;
  /** Elements, inside the rows. */
  readonly start: number;
  readonly end: number;
}

/** Elements `[start, end)`, rounded once, into `bytes`. @throws bad-data when a stored or a fused number is not finite */
async function encodeRows(
  rows: PreparedRows,
  { first, last, start, end }: Range,
  dtype: FloatDType,
  bytes: Uint8Array,
): Promise<void> {
  const { rowSize } = rows;
  const itemBytes = DTYPE_BYTES[dtype];
  const step = Math.max(1, Math.floor(BLOCK_ELEMENTS / rowSize));
  for (let begin = first; begin < last; begin += step) {
    const stop = Math.min(last, begin + step);
    const { values } = rowLoops().block(stop - begin, rowSize);
    rows.compute(begin, stop, values, undefined);
    const from = Math.max(start, begin * rowSize);
    const to = Math.min(end, stop * rowSize);
    const block = values.subarray(from - begin * rowSize, to - begin * rowSize);
    const piece = bytes.subarray((from - start) * itemBytes, (to - start) * itemBytes);
    const wrong = encodeInto(block, dtype, piece);
    if (wrong < 0) continue;
    await rows.assertStoredFinite();
    throw badData(
      "fused weight",
      `${block[wrong]} in row ${Math.floor((from + wrong) / rowSize)} does not fit ${dtype}`,
      "Convert a checkpoint of the same net in float32",
    );
  }
}

/** Rounds once and stores. Index of the first number that is then not finite; −1 if there is none. */
function encodeInto(values: Float64Array, dtype: FloatDType, bytes: Uint8Array): number {
  if (dtype !== "float32" || bytes.byteOffset % 4 !== 0) {
    bytes.set(encodeFloat64(values, dtype));
    return firstNonFinite(bytes, dtype);
  }
  return rowLoops().round(values, new Float32Array(bytes.buffer, bytes.byteOffset, values.length));
}
