/** @file NumPy's `.npy` arrays, versions 1 to 3. Format: NEP 1 and `numpy.lib.format`. */

import type { ByteSource } from "../../core/byte-source.ts";
import { DTYPE_BYTES, type DType } from "../../core/dtype.ts";
import { badData } from "../../core/errors.ts";
import { elementCount, type LazyTensor } from "../../core/tensor.ts";
import { readRange, subSource } from "../read-range.ts";
import { contiguousStrides, stridedTensor } from "../strided-tensor.ts";

/** Bytes of the header: NumPy's own limit for untrusted files. */
export const MAX_NPY_HEADER_BYTES = 10_000;
/** Dimensions of an array: NumPy's own limit. */
export const MAX_NPY_RANK = 64;

/** NumPy's type codes without the byte order. */
export const NPY_DTYPES: Readonly<Record<string, DType>> = {
  f2: "float16",
  f4: "float32",
  f8: "float64",
  i1: "int8",
  i2: "int16",
  i4: "int32",
  i8: "int64",
  u1: "uint8",
  u2: "uint16",
  u4: "uint32",
  u8: "uint64",
  b1: "bool",
  c8: "complex64",
  c16: "complex128",
};

/**
 * Reads the header; elements stay in the source. Fortran order is read in C order.
 *
 * @throws bad-data for damaged files, big-endian, structured and object arrays
 */
export async function readNpy(source: ByteSource): Promise<LazyTensor> {
  const where = `${source.name}: npy header`;
  const head = await readRange(source, 0, Math.min(12, source.byteLength), "npy header");
  const mark = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
  if (head.byteLength < 12 || mark.some((byte, i) => head[i] !== byte)) {
    throw badData(source.name, "is not a .npy file");
  }
  const version = head[6]!;
  if (version < 1 || version > 3) throw badData(where, `version ${version}, expected 1 to 3`);
  const view = new DataView(head.buffer, head.byteOffset);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const start = version === 1 ? 10 : 12;
  if (length > MAX_NPY_HEADER_BYTES) {
    throw badData(where, `${length} bytes, expected at most ${MAX_NPY_HEADER_BYTES}`);
  }
  const text = new TextDecoder().decode(await readRange(source, start, start + length, "header"));
  const { dtype, shape, fortranOrder } = parseHeader(where, text);
  const dataStart = start + length;
  const expected = elementCount(shape) * DTYPE_BYTES[dtype];
  if (source.byteLength - dataStart !== expected) {
    throw badData(
      source.name,
      `${source.byteLength - dataStart} bytes of elements, expected ${expected} for ${dtype} [${shape.join(", ")}]`,
      "The file is cut off or damaged; fetch it again",
    );
  }
  const strides = fortranOrder
    ? contiguousStrides([...shape].reverse()).reverse()
    : contiguousStrides(shape);
  const data = subSource(source, dataStart, source.byteLength);
  return stridedTensor(data, { dtype, shape, strides, offset: 0, what: "array" });
}

/** The header is a Python dict literal with exactly these three keys. */
function parseHeader(
  where: string,
  text: string,
): { dtype: DType; shape: number[]; fortranOrder: boolean } {
  const descr = /'descr':\s*(?:'([^']*)'|(\[))/.exec(text);
  const order = /'fortran_order':\s*(True|False)/.exec(text);
  const shape = /'shape':\s*\(([\d\s,]*)\)/.exec(text);
  if (!descr || !order || !shape) {
    throw badData(where, "descr, fortran_order or shape is missing", "The file is damaged");
  }
  const code = descr[1] ?? "a record";
  const kind = code.slice(1);
  const dtype =
    /^[<|=]/.test(code) && Object.hasOwn(NPY_DTYPES, kind) ? NPY_DTYPES[kind] : undefined;
  if (!dtype) {
    throw badData(
      where,
      `dtype ${code}, expected little-endian numbers or bool`,
      "Convert it in NumPy: numpy.save(path, array.astype('<f4'))",
    );
  }
  const sizes = shape[1]!
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map(Number);
  if (sizes.length > MAX_NPY_RANK || !sizes.every(Number.isSafeInteger)) {
    throw badData(where, `its shape is not a list of at most ${MAX_NPY_RANK} counts`);
  }
  return { dtype, shape: sizes, fortranOrder: order[1] === "True" };
}
