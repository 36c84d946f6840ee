import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { expect, test } from "vitest";
import { rawInts } from "./raw-ints.ts";

test("reads plain and packed integers and clamps what is too large", () => {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string("ends");
  writer.tag(8, WireType.Varint).int64("9223372036854775807");
  writer.tag(8, WireType.Varint).int64(-1);
  writer.tag(8, WireType.LengthDelimited).fork().int64("-9223372036854775808").int64(5).join();
  writer.tag(20, WireType.Varint).int32(7);
  expect(rawInts(writer.finish(), 100)).toEqual([100, -1, -100, 5]);
});

test("an attribute without integers has none", () => {
  const writer = new BinaryWriter();
  writer.tag(3, WireType.Varint).int64(4);
  expect(rawInts(writer.finish(), 100)).toEqual([]);
});
