/** @file Writes NumPy's `.npy`, version 1. */

import type { DType } from "../../core/dtype.ts";
import { ReparamError } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import { NPY_DTYPES } from "./read-npy.ts";

const CODES: ReadonlyMap<DType, string> = new Map(
  Object.entries(NPY_DTYPES).map(([code, dtype]) => [dtype, code]),
);
const ALIGNMENT = 64;
const PREFIX_BYTES = 10;

/** The array as a file's bytes. @throws usage for dtypes NumPy lacks (bfloat16, float8) */
export function writeNpy(tensor: Tensor): Uint8Array {
  const code = CODES.get(tensor.dtype);
  if (code === undefined) {
    throw new ReparamError("usage", {
      where: "writeNpy",
      what: `${tensor.dtype} has no NumPy dtype`,
      fix: "Convert it to float32 first",
    });
  }
  const order = code.endsWith("1") ? "|" : "<";
  const shape = tensor.shape.length === 1 ? `${tensor.shape[0]},` : tensor.shape.join(", ");
  const text = `{'descr': '${order}${code}', 'fortran_order': False, 'shape': (${shape}), }`;
  const dataStart = Math.ceil((PREFIX_BYTES + text.length + 1) / ALIGNMENT) * ALIGNMENT;
  const bytes = new Uint8Array(dataStart + tensor.bytes.byteLength).fill(0x20, 0, dataStart);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  new DataView(bytes.buffer).setUint16(8, dataStart - PREFIX_BYTES, true);
  bytes.set(new TextEncoder().encode(text), PREFIX_BYTES);
  bytes[dataStart - 1] = 10;
  bytes.set(tensor.bytes, dataStart);
  return bytes;
}
