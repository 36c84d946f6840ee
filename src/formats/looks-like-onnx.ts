/**
 * @file Whether a file can be an ONNX `ModelProto`: its top-level protobuf fields are walked by their lengths, without
 * reading what is inside, and must be the fields of `onnx.proto` in their wire types.
 */

import type { ByteSource } from "../core/byte-source.ts";
import { readRange } from "./read-range.ts";

/** Field number → wire type (0 varint, 2 bytes) of `ModelProto`. */
const FIELDS: ReadonlyMap<number, number> = new Map([
  [1, 0], // ir_version
  [2, 2], // producer_name
  [3, 2], // producer_version
  [4, 2], // domain
  [5, 0], // model_version
  [6, 2], // doc_string
  [7, 2], // graph
  [8, 2], // opset_import
  [14, 2], // metadata_props
  [20, 2], // training_info
  [25, 2], // functions
  [26, 2], // configuration
]);
const GRAPH_FIELD = 7;
const MAX_FIELDS = 4096;
/** A tag and a 64-bit varint. */
const FIELD_HEAD_BYTES = 20;

export async function looksLikeOnnx(source: ByteSource): Promise<boolean> {
  let at = 0;
  let hasGraph = false;
  for (let i = 0; i < MAX_FIELDS && at < source.byteLength; i++) {
    const end = Math.min(source.byteLength, at + FIELD_HEAD_BYTES);
    const head = await readRange(source, at, end, "ONNX field");
    const tag = readVarint(head, 0);
    if (!tag || FIELDS.get(tag.value >>> 3) !== (tag.value & 7)) return false;
    const value = readVarint(head, tag.end);
    if (!value) return false;
    const isGraph = tag.value >>> 3 === GRAPH_FIELD;
    hasGraph ||= isGraph;
    // A graph cut off by the end of the file is still ONNX: its reader says what is missing.
    if (isGraph && at + value.end + value.value > source.byteLength) return true;
    at += value.end + ((tag.value & 7) === 2 ? value.value : 0);
  }
  return hasGraph && at === source.byteLength;
}

function readVarint(bytes: Uint8Array, start: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let i = 0; i < 10; i++) {
    const byte = bytes[start + i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return { value, end: start + i + 1 };
  }
  return undefined;
}
