/** @file ValueInfoProto → `ValueInfo`. Types that are no plain dense tensor keep the file's own bytes. */

import { badData } from "../../core/errors.ts";
import { DTYPE_OF_CODE } from "../../ir/element-type.ts";
import type { Dim, ValueInfo } from "../../ir/graph.ts";
import type { MessageReader } from "./message-reader.ts";
import { assertCount, assertPayload, type Field, integer, smallInteger } from "./message-reader.ts";
import { DIM, SHAPE, TENSOR_TYPE, TYPE, VALUE_INFO } from "./schema.ts";

type TensorType = Pick<ValueInfo, "dtype" | "shape">;

export async function readValueInfo(
  reader: MessageReader,
  graphWhere: string,
  field: Field,
): Promise<ValueInfo> {
  assertPayload(graphWhere, field);
  const extra: Uint8Array[] = [];
  let name = "";
  let type: Field | undefined;
  for (const part of await reader.fields(graphWhere, field.start, field.end)) {
    if (part.number === VALUE_INFO.name) name = await reader.text(graphWhere, part);
    else if (part.number === VALUE_INFO.type) type = part;
    else extra.push(await reader.keep(graphWhere, part.tagStart, part.end));
  }
  const where = `${graphWhere}: value ${name}`;
  const known = type && (await readTensorType(reader, where, type));
  return {
    name,
    dtype: known?.dtype,
    shape: known?.shape,
    ...(type && !known && { rawType: await reader.keep(where, type.start, type.end) }),
    ...(extra.length > 0 && { extra }),
  };
}

/** A TypeProto that says nothing but element type and shape of a dense tensor; undefined for others. */
async function readTensorType(
  reader: MessageReader,
  where: string,
  field: Field,
): Promise<TensorType | undefined> {
  assertPayload(where, field);
  const [tensorType, ...others] = await reader.fields(where, field.start, field.end);
  if (tensorType?.number !== TYPE.tensorType || others.length > 0) return undefined;
  assertPayload(where, tensorType);
  let dtype: TensorType["dtype"];
  let shape: TensorType["shape"];
  for (const part of await reader.fields(where, tensorType.start, tensorType.end)) {
    if (part.number === TENSOR_TYPE.elemType) dtype = DTYPE_OF_CODE[smallInteger(where, part)];
    else if (part.number === TENSOR_TYPE.shape && !shape) {
      shape = await readShape(reader, where, part);
      if (!shape) return undefined;
    } else return undefined;
  }
  return dtype && { dtype, shape };
}

/** The dimensions; undefined where one has a denotation or other fields we have no place for. */
async function readShape(
  reader: MessageReader,
  where: string,
  field: Field,
): Promise<Dim[] | undefined> {
  assertPayload(where, field);
  const dims: Dim[] = [];
  for (const part of await reader.fields(where, field.start, field.end)) {
    if (part.number !== SHAPE.dim) return undefined;
    assertPayload(where, part);
    let dim: Dim;
    for (const choice of await reader.fields(where, part.start, part.end)) {
      if (choice.number === DIM.value) dim = toDim(where, integer(where, choice));
      else if (choice.number === DIM.param) dim = (await reader.text(where, choice)) || undefined;
      else return undefined;
    }
    dims.push(dim);
    assertCount(where, "dimensions", dims.length, reader.limits.rank);
  }
  return dims;
}

function toDim(where: string, value: number | bigint): Dim {
  if (typeof value === "bigint") throw badData(where, `dimension ${value}, expected at most 2^53`);
  // Old exporters write -1 for a dimension they do not know.
  return value >= 0 ? value : undefined;
}
