/**
 * @file safetensors: an 8-byte header length, a JSON header, then the tensors without gaps.
 * Format: the safetensors README (Hugging Face). The header's checks are its: no overlap, no holes, nothing left over.
 */

import type { ByteSource } from "../../core/byte-source.ts";
import { DTYPE_BYTES, type DType } from "../../core/dtype.ts";
import { badData } from "../../core/errors.ts";
import { byteLength, formatShape, type LazyTensor } from "../../core/tensor.ts";
import { readRange } from "../read-range.ts";
import { contiguousStrides, stridedTensor } from "../strided-tensor.ts";

/** Bytes of the JSON header: the format's own limit. */
export const MAX_SAFETENSORS_HEADER_BYTES = 100_000_000;
/** Tensors in a file. */
export const MAX_SAFETENSORS_TENSORS = 262_144;
/** Dimensions of a tensor. */
export const MAX_SAFETENSORS_RANK = 64;

const LENGTH_BYTES = 8;

/** The file's spelling of a dtype. */
export const SAFETENSORS_DTYPES: Readonly<Record<string, DType>> = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  F8_E4M3: "float8e4m3fn",
  F8_E5M2: "float8e5m2",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U64: "uint64",
  U32: "uint32",
  U16: "uint16",
  U8: "uint8",
  BOOL: "bool",
  C64: "complex64",
};

export interface SafetensorsFile {
  /** In header order. */
  readonly tensors: ReadonlyMap<string, LazyTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

interface Entry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

/** The header's length if the first bytes can be a safetensors file of `fileBytes` bytes; else undefined. */
export function safetensorsHeaderBytes(head: Uint8Array, fileBytes: number): number | undefined {
  if (head.byteLength <= LENGTH_BYTES || head[LENGTH_BYTES] !== 0x7b) return undefined;
  const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
  return length >= 2n && length <= BigInt(fileBytes - LENGTH_BYTES) ? Number(length) : undefined;
}

/**
 * Reads the header; tensors stay in the file.
 *
 * @throws bad-data when the header is not sound
 */
export async function readSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  const where = `${source.name}: safetensors header`;
  const head = await readRange(source, 0, LENGTH_BYTES, "safetensors header length");
  const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
  if (length > BigInt(MAX_SAFETENSORS_HEADER_BYTES)) {
    throw badData(where, `${length} bytes, expected at most ${MAX_SAFETENSORS_HEADER_BYTES}`);
  }
  const dataStart = LENGTH_BYTES + Number(length);
  const header = parseHeader(where, await readRange(source, LENGTH_BYTES, dataStart, "header"));
  const entries: Entry[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") metadata = parseMetadata(where, value);
    else entries.push(parseEntry(`${source.name}: ${name}`, name, value));
  }
  if (entries.length > MAX_SAFETENSORS_TENSORS) {
    throw badData(where, `${entries.length} tensors, expected at most ${MAX_SAFETENSORS_TENSORS}`);
  }
  assertNoGaps(source, entries, source.byteLength - dataStart);
  const tensors = new Map<string, LazyTensor>();
  for (const { name, dtype, shape, start } of entries) {
    const offset = (dataStart + start) / DTYPE_BYTES[dtype];
    tensors.set(
      name,
      Number.isInteger(offset)
        ? stridedTensor(source, {
            dtype,
            shape,
            strides: contiguousStrides(shape),
            offset,
            what: name,
          })
        : misaligned(source, dtype, shape, dataStart + start, name),
    );
  }
  return { tensors, metadata };
}

/** A tensor whose position is not a multiple of its element size. */
function misaligned(
  source: ByteSource,
  dtype: DType,
  shape: readonly number[],
  start: number,
  what: string,
): LazyTensor {
  const strides = contiguousStrides(shape);
  const { name } = source;
  const length = byteLength({ dtype, shape });
  const slice = (from: number, to: number): Promise<Uint8Array> =>
    source.slice(start + from, start + to);
  return stridedTensor(
    { name, byteLength: length, slice },
    { dtype, shape, strides, offset: 0, what },
  );
}

function parseHeader(where: string, bytes: Uint8Array): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw badData(where, "is not JSON in UTF-8", "The file is damaged; fetch it again");
  }
  if (!isPlainObject(header)) throw badData(where, "is not a JSON object");
  return header;
}

function parseMetadata(where: string, value: unknown): Record<string, string> {
  if (!isPlainObject(value) || Object.values(value).some((text) => typeof text !== "string")) {
    throw badData(where, "__metadata__ is not a map from text to text");
  }
  return value as Record<string, string>;
}

function parseEntry(where: string, name: string, value: unknown): Entry {
  if (!isPlainObject(value)) throw badData(where, "its header entry is not an object");
  const { dtype: code, shape, data_offsets: offsets } = value;
  const dtype =
    typeof code === "string" && Object.hasOwn(SAFETENSORS_DTYPES, code)
      ? SAFETENSORS_DTYPES[code]
      : undefined;
  if (!dtype) {
    const known = Object.keys(SAFETENSORS_DTYPES).join(", ");
    throw badData(where, `dtype ${JSON.stringify(code)}, expected one of ${known}`);
  }
  if (!Array.isArray(shape) || shape.length > MAX_SAFETENSORS_RANK || !shape.every(isCount)) {
    throw badData(where, `its shape is not a list of at most ${MAX_SAFETENSORS_RANK} counts`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw badData(where, "its data_offsets are not two counts");
  }
  const [start, end] = offsets as [number, number];
  const expected = byteLength({ dtype, shape });
  if (end - start !== expected) {
    throw badData(
      where,
      `${end - start} bytes for ${code} ${formatShape(shape)}, expected ${expected}`,
    );
  }
  return { name, dtype, shape, start, end };
}

function assertNoGaps(source: ByteSource, entries: readonly Entry[], dataBytes: number): void {
  let at = 0;
  for (const entry of [...entries].sort((a, b) => a.start - b.start || a.end - b.end)) {
    if (entry.start !== at) {
      throw badData(
        `${source.name}: ${entry.name}`,
        `starts at ${entry.start}, expected ${at}, where the one before it ends`,
        "The file is damaged",
      );
    }
    at = entry.end;
  }
  if (at !== dataBytes) {
    throw badData(
      source.name,
      `${dataBytes} bytes of tensors, the header announces ${at}`,
      "The file is cut off or damaged; fetch it again",
    );
  }
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
