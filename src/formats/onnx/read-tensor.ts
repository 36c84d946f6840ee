/** @file TensorProto → lazy tensor: the header is read now, the elements stay in the file until asked for. */

import { WireType } from "@bufbuild/protobuf/wire";
import type { ByteSource } from "../../core/byte-source.ts";
import type { DType } from "../../core/dtype.ts";
import { badData, ReparamError } from "../../core/errors.ts";
import { byteLength, formatShape, type LazyTensor } from "../../core/tensor.ts";
import { DTYPE_OF_CODE } from "../../ir/element-type.ts";
import { assertLocation, type ExternalFiles } from "./external-data.ts";
import type { MessageReader } from "./message-reader.ts";
import { assertCount, assertPayload, type Field, smallInteger } from "./message-reader.ts";
import { DATA_LOCATION_EXTERNAL, ENTRY, MAX_DATA_TYPE_CODE, TENSOR } from "./schema.ts";
import { type ByteRange, rangeTensor, varintTensor } from "./tensor-data.ts";

/** A tensor of an ONNX file, with what the file says about it beside its elements. */
export interface OnnxTensor extends LazyTensor {
  /** The name inside an attribute's TensorProto, which need not be the attribute's. */
  readonly wireName?: string;
  /** Doc string, metadata and other fields we do not interpret, in wire bytes. */
  readonly extra?: readonly Uint8Array[];
}

/** What tensors are read from: the model's messages and the files beside it. */
export interface TensorContext {
  readonly reader: MessageReader;
  readonly external: ExternalFiles | undefined;
  /** Files already opened, by location. */
  readonly opened: Map<string, Promise<ByteSource>>;
}

export interface NamedTensor {
  readonly name: string;
  /** Undefined for element types we cannot read (strings, 4-bit and other small types). */
  readonly tensor: OnnxTensor | undefined;
}

interface TensorHeader {
  name: string;
  dims: number[];
  dataType: number;
  external: boolean;
  entries: Map<string, string>;
  /** Data ranges by field number. */
  data: Map<number, ByteRange[]>;
  extra: Uint8Array[];
}

/** Fields that hold elements, and the wire type of one element outside a packed list. */
const DATA_FIELDS: ReadonlyMap<number, WireType> = new Map([
  [TENSOR.rawData, WireType.LengthDelimited],
  [TENSOR.stringData, WireType.LengthDelimited],
  [TENSOR.floatData, WireType.Bit32],
  [TENSOR.doubleData, WireType.Bit64],
  [TENSOR.int32Data, WireType.Varint],
  [TENSOR.int64Data, WireType.Varint],
  [TENSOR.uint64Data, WireType.Varint],
]);

/** Reads the TensorProto at `[start, end)`. Throws `bad-data` when type, shape and data do not fit together. */
export async function readTensorMessage(
  context: TensorContext,
  where: string,
  start: number,
  end: number,
): Promise<NamedTensor> {
  const header = await readHeader(context.reader, where, start, end);
  const { name, dims, dataType } = header;
  const label = name === "" ? where : `${where}: ${name}`;
  if (dataType < 1 || dataType > MAX_DATA_TYPE_CODE) {
    throw badData(label, `element type ${dataType}, expected 1 to ${MAX_DATA_TYPE_CODE}`);
  }
  const dtype = DTYPE_OF_CODE[dataType];
  if (dtype === undefined || dtype === "string") {
    if (!header.external) return { name, tensor: undefined };
    throw badData(label, `element type ${dataType} in external data, which is not supported`);
  }
  if (!Number.isSafeInteger(byteLength({ dtype, shape: dims }))) {
    throw badData(label, `shape ${formatShape(dims)} has more than 2^53 bytes`);
  }
  const tensor = header.external
    ? await externalTensor(context, label, header, dtype)
    : inlineTensor(context.reader.source, label, header, dtype);
  return { name, tensor: header.extra.length ? { ...tensor, extra: header.extra } : tensor };
}

async function readHeader(
  reader: MessageReader,
  where: string,
  start: number,
  end: number,
): Promise<TensorHeader> {
  const header: TensorHeader = {
    name: "",
    dims: [],
    dataType: 0,
    external: false,
    entries: new Map(),
    data: new Map(),
    extra: [],
  };
  for (const field of await reader.fields(where, start, end)) {
    if (DATA_FIELDS.has(field.number)) {
      addData(where, header, field);
    } else if (field.number === TENSOR.dims) {
      for (const dim of await reader.ints(where, field)) header.dims.push(toDim(where, dim));
      assertCount(where, "dimensions", header.dims.length, reader.limits.rank);
    } else if (field.number === TENSOR.dataType) {
      header.dataType = smallInteger(where, field);
    } else if (field.number === TENSOR.name) {
      header.name = await reader.text(where, field);
    } else if (field.number === TENSOR.dataLocation) {
      header.external = smallInteger(where, field) === DATA_LOCATION_EXTERNAL;
    } else if (field.number === TENSOR.externalData) {
      const [key, value] = await readEntry(reader, where, field);
      header.entries.set(key, value);
    } else if (field.number === TENSOR.segment) {
      throw badData(where, "a tensor cut into segments, which is not supported");
    } else {
      header.extra.push(await reader.keep(where, field.tagStart, field.end));
    }
  }
  return header;
}

function addData(where: string, header: TensorHeader, field: Field): void {
  const { number, start, end } = field;
  if (field.wireType !== DATA_FIELDS.get(number)) assertPayload(where, field);
  const ranges = header.data.get(number);
  // Of a repeated single field the last occurrence counts; the pieces of a list add up.
  if (!ranges || number === TENSOR.rawData) header.data.set(number, [{ start, end }]);
  else ranges.push({ start, end });
}

function toDim(where: string, dim: number | bigint): number {
  if (typeof dim === "number" && dim >= 0) return dim;
  throw badData(where, `dimension ${dim}, expected 0 or more`);
}

/** A StringStringEntryProto. */
export async function readEntry(
  reader: MessageReader,
  where: string,
  field: Field,
): Promise<[key: string, value: string]> {
  assertPayload(where, field);
  let key = "";
  let value = "";
  for (const part of await reader.fields(where, field.start, field.end)) {
    if (part.number === ENTRY.key) key = await reader.text(where, part);
    else if (part.number === ENTRY.value) value = await reader.text(where, part);
  }
  return [key, value];
}

/** The typed field that may hold elements of a dtype, and whether they stand there as they do in memory. */
function typedField(dtype: DType): { readonly field: number; readonly plain: boolean } {
  switch (dtype) {
    case "float32":
    case "complex64":
      return { field: TENSOR.floatData, plain: true };
    case "float64":
    case "complex128":
      return { field: TENSOR.doubleData, plain: true };
    case "int64":
      return { field: TENSOR.int64Data, plain: false };
    case "uint32":
    case "uint64":
      return { field: TENSOR.uint64Data, plain: false };
    default:
      return { field: TENSOR.int32Data, plain: false };
  }
}

function inlineTensor(
  source: ByteSource,
  where: string,
  header: TensorHeader,
  dtype: DType,
): LazyTensor {
  const shape = header.dims;
  const typed = typedField(dtype);
  const filled = [...header.data].filter(([, ranges]) => sizeOfRanges(ranges) > 0);
  const [field, ranges] = filled[0] ?? [TENSOR.rawData, []];
  if (filled.length > 1 || (field !== TENSOR.rawData && field !== typed.field)) {
    const fields = filled.map(([number]) => number).join(", ");
    throw badData(
      where,
      `${dtype} data in fields ${fields}, expected raw data or field ${typed.field}`,
    );
  }
  const sizeBytes = sizeOfRanges(ranges);
  if (field === TENSOR.rawData || typed.plain) {
    const expected = byteLength({ dtype, shape });
    if (sizeBytes !== expected) {
      throw badData(
        where,
        `${sizeBytes} bytes of data for ${dtype} ${formatShape(shape)}, expected ${expected}`,
      );
    }
    return rangeTensor(source, ranges, dtype, shape);
  }
  return varintTensor(source, where, ranges, dtype, shape);
}

async function externalTensor(
  context: TensorContext,
  where: string,
  header: TensorHeader,
  dtype: DType,
): Promise<LazyTensor> {
  const shape = header.dims;
  const location = header.entries.get("location") ?? "";
  assertLocation(where, location);
  if ([...header.data.values()].some((ranges) => sizeOfRanges(ranges) > 0)) {
    throw badData(where, "data both inside and outside of the model file");
  }
  if (!context.external) {
    throw new ReparamError("not-found", {
      where,
      what: `its data is in the file ${JSON.stringify(location)}, which was not given`,
      fix: "Give the files beside the model as well",
    });
  }
  let opening = context.opened.get(location);
  if (!opening) {
    opening = context.external.open(location);
    context.opened.set(location, opening);
  }
  const source = await opening;
  const expected = byteLength({ dtype, shape });
  const start = entryInteger(where, header, "offset", 0);
  const length = entryInteger(where, header, "length", expected);
  if (length !== expected) {
    throw badData(
      where,
      `external data has ${length} bytes for ${dtype} ${formatShape(shape)}, expected ${expected}`,
    );
  }
  if (start + length > source.byteLength) {
    throw badData(
      where,
      `external data ends at byte ${start + length} of ${source.name}, which has ${source.byteLength}`,
      "The data file is cut off or belongs to another model",
    );
  }
  return rangeTensor(source, [{ start, end: start + length }], dtype, shape);
}

function entryInteger(where: string, header: TensorHeader, key: string, fallback: number): number {
  const text = header.entries.get(key);
  if (text === undefined || text === "") return fallback;
  // 15 digits are below 2^53.
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw badData(
    where,
    `external data ${key} is ${JSON.stringify(text.slice(0, 50))}, expected a number of bytes`,
  );
}

function sizeOfRanges(ranges: readonly ByteRange[]): number {
  let size = 0;
  for (const range of ranges) size += range.end - range.start;
  return size;
}
