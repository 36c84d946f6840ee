/** @file Protobuf messages by hand, for ONNX files that no exporter of ours writes. */

import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** Appends one field to a message. */
export type Part = (writer: BinaryWriter) => void;

/** A varint field. */
export function int(field: number, value: number | bigint): Part {
  return (writer) => writer.tag(field, WireType.Varint).int64(value);
}

export function text(field: number, value: string): Part {
  return (writer) => writer.tag(field, WireType.LengthDelimited).string(value);
}

export function bytes(field: number, value: Uint8Array | readonly number[]): Part {
  return (writer) => writer.tag(field, WireType.LengthDelimited).bytes(Uint8Array.from(value));
}

export function float(field: number, value: number): Part {
  return (writer) => writer.tag(field, WireType.Bit32).float(value);
}

export function double(field: number, value: number): Part {
  return (writer) => writer.tag(field, WireType.Bit64).double(value);
}

/** A message field. */
export function sub(field: number, ...parts: Part[]): Part {
  return bytes(field, message(...parts));
}

/** A packed list of varints. */
export function packed(field: number, values: readonly (number | bigint)[]): Part {
  const list = new BinaryWriter();
  for (const value of values) list.int64(value);
  return bytes(field, list.finish());
}

export function message(...parts: Part[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const part of parts) part(writer);
  return writer.finish();
}

/** A ModelProto of IR 8 and opset 17 around a graph's fields. */
export function modelBytes(...graph: Part[]): Uint8Array {
  return modelWith([], graph);
}

export function modelWith(model: readonly Part[], graph: readonly Part[]): Uint8Array {
  return message(int(1, 8), sub(7, ...graph), sub(8, text(1, ""), int(2, 17)), ...model);
}

/** An initializer field: TensorProto with dims, data type, name, then the given data fields. */
export function tensor(
  name: string,
  dims: readonly number[],
  dataType: number,
  ...data: Part[]
): Part {
  return sub(5, ...dims.map((dim) => int(1, dim)), int(2, dataType), text(8, name), ...data);
}

/** A node field. */
export function node(opType: string, inputs: string[], outputs: string[], ...rest: Part[]): Part {
  return sub(
    1,
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(4, opType),
    ...rest,
  );
}

/** An attribute field of a node. */
export function attribute(name: string, type: number, ...value: Part[]): Part {
  return sub(5, text(1, name), ...value, int(20, type));
}
