/** @file Integers of an attribute that the graph keeps as bytes because some exceed 2^53 (`INT64_MAX` for "to the end"). */

import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { ATTRIBUTE } from "./schema.ts";

/**
 * `ints` of an AttributeProto, each moved to the nearest integer within ±`limit`. Empty when it holds none.
 * `bytes` is bounded by the message it came from, and every integer takes at least one of them.
 */
export function rawInts(bytes: Uint8Array, limit: number): number[] {
  const reader = new BinaryReader(bytes);
  const values: number[] = [];
  const add = (): void => {
    values.push(Math.max(-limit, Math.min(limit, Number(reader.int64()))));
  };
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field !== ATTRIBUTE.ints) {
      reader.skip(wireType, field);
    } else if (wireType === WireType.LengthDelimited) {
      const end = reader.uint32() + reader.pos;
      while (reader.pos < end) add();
    } else {
      add();
    }
  }
  return values;
}
