/**
 * @file Reads protobuf messages out of a byte source through a small moving window, so that large payloads
 * (weights) are passed over without being read.
 */

import { BinaryReader, getTextEncoding, WireType } from "@bufbuild/protobuf/wire";
import type { ByteSource } from "../../core/byte-source.ts";
import { badData, ReparamError } from "../../core/errors.ts";
import type { OnnxLimits } from "./limits.ts";

/** One field of a message: where it stands and, for a number, its value. */
export interface Field {
  readonly number: number;
  readonly wireType: WireType;
  /** First byte of the tag. */
  readonly tagStart: number;
  /** Payload `[start, end)` in the file. */
  readonly start: number;
  readonly end: number;
  /** Signed varint, or float32 of a 32-bit field; bigint where a number would not be exact; undefined for payloads. */
  readonly value: number | bigint | undefined;
}

/** Longest tag and length or varint: 5 and 10 bytes. */
const HEADER_BYTES = 15;
/** The window after a jump: a tensor's header fits. */
const FIRST_WINDOW_BYTES = 1024;
/** The window while reading on: grows fourfold up to this. */
const MAX_WINDOW_BYTES = 64 * 1024;
/** Passing over less than this is still reading on: small constants between nodes. */
const SMALL_JUMP_BYTES = 4 * 1024;

export class MessageReader {
  readonly source: ByteSource;
  readonly limits: OnnxLimits;
  #window: BinaryReader;
  #bytes: Uint8Array = new Uint8Array(0);
  #start = 0;
  #nextBytes = FIRST_WINDOW_BYTES;
  #keptBytes = 0;

  constructor(source: ByteSource, limits: OnnxLimits) {
    this.source = source;
    this.limits = limits;
    this.#window = new BinaryReader(this.#bytes);
  }

  /** The fields of the message at `[start, end)`, one at a time; the consumer may read within each before going on. */
  async *each(where: string, start: number, end: number): AsyncGenerator<Field, void> {
    for (let at = start; at < end; ) {
      if (!this.#holds(at, Math.min(at + HEADER_BYTES, end))) await this.#load(at, HEADER_BYTES);
      const field = this.#parseField(where, at, end);
      yield field;
      at = field.end;
    }
  }

  /** All fields of the message at `[start, end)`. */
  async fields(where: string, start: number, end: number): Promise<Field[]> {
    const fields: Field[] = [];
    for (let at = start; at < end; ) {
      if (!this.#holds(at, Math.min(at + HEADER_BYTES, end))) await this.#load(at, HEADER_BYTES);
      const field = this.#parseField(where, at, end);
      fields.push(field);
      assertCount(where, "fields", fields.length, this.limits.fieldsPerMessage);
      at = field.end;
    }
    return fields;
  }

  /** The text of a string field. Throws `bad-data` for invalid UTF-8. */
  async text(where: string, field: Field): Promise<string> {
    assertPayload(where, field);
    assertCount(where, "bytes in a string", field.end - field.start, this.limits.stringBytes);
    const bytes = await this.#read(field.start, field.end);
    try {
      return getTextEncoding().decodeUtf8(bytes, true);
    } catch (cause) {
      throw new ReparamError("bad-data", {
        where,
        what: `string at byte ${field.start} is not UTF-8`,
        cause,
      });
    }
  }

  /** A copy of `[start, end)`, counted against the limit on kept bytes. */
  async keep(where: string, start: number, end: number): Promise<Uint8Array> {
    this.#keptBytes += end - start;
    assertCount(where, "bytes kept uninterpreted", this.#keptBytes, this.limits.keptBytes);
    // Not `slice()`: a Node Buffer's shares memory.
    return new Uint8Array(await this.#read(start, end));
  }

  /** The integers of a repeated field's occurrence, packed or not. */
  async ints(where: string, field: Field): Promise<(number | bigint)[]> {
    if (field.wireType !== WireType.LengthDelimited) return [integer(where, field)];
    assertCount(where, "packed bytes", field.end - field.start, this.limits.fieldsPerMessage);
    const reader = new BinaryReader(await this.#read(field.start, field.end));
    const values: (number | bigint)[] = [];
    while (reader.pos < reader.len) {
      values.push(guard(where, field.start, () => narrow(reader.int64())));
    }
    return values;
  }

  /** The float32 values of a repeated field's occurrence, packed or not. */
  async floats(where: string, field: Field): Promise<number[]> {
    if (field.wireType !== WireType.LengthDelimited) return [float(where, field)];
    const size = field.end - field.start;
    assertCount(where, "packed bytes", size, this.limits.fieldsPerMessage);
    if (size % 4)
      throw badData(where, `packed floats have ${size} bytes, expected a multiple of 4`);
    const reader = new BinaryReader(await this.#read(field.start, field.end));
    return Array.from({ length: size / 4 }, () => reader.float());
  }

  #holds(start: number, end: number): boolean {
    return start >= this.#start && end <= this.#start + this.#bytes.byteLength;
  }

  async #read(start: number, end: number): Promise<Uint8Array> {
    if (this.#holds(start, end))
      return this.#bytes.subarray(start - this.#start, end - this.#start);
    if (end - start > MAX_WINDOW_BYTES) return readExactly(this.source, start, end);
    await this.#load(start, end - start);
    return this.#bytes.subarray(0, end - start);
  }

  /** Moves the window to `start`. It grows while reading on, and starts small after a jump over data. */
  async #load(start: number, minBytes: number): Promise<void> {
    const windowEnd = this.#start + this.#bytes.byteLength;
    if (start > windowEnd + SMALL_JUMP_BYTES) this.#nextBytes = FIRST_WINDOW_BYTES;
    else if (start >= this.#start) {
      this.#nextBytes = Math.min(this.#nextBytes * 4, MAX_WINDOW_BYTES);
    }
    const end = Math.min(start + Math.max(this.#nextBytes, minBytes), this.source.byteLength);
    this.#bytes = await readExactly(this.source, start, end);
    this.#start = start;
    this.#window = new BinaryReader(this.#bytes);
  }

  #parseField(where: string, at: number, messageEnd: number): Field {
    const reader = this.#window;
    reader.pos = at - this.#start;
    return guard(where, at, () => {
      const [number, wireType] = reader.tag();
      let value: number | bigint | undefined;
      let start = this.#start + reader.pos;
      let end: number;
      if (wireType === WireType.LengthDelimited) {
        const length = narrow(reader.uint64());
        start = this.#start + reader.pos;
        end = typeof length === "bigint" ? Number.POSITIVE_INFINITY : start + length;
      } else if (wireType === WireType.Varint) {
        value = narrow(reader.int64());
        end = this.#start + reader.pos;
      } else if (wireType === WireType.Bit32) {
        value = reader.float();
        end = start + 4;
      } else if (wireType === WireType.Bit64) {
        end = start + 8;
      } else {
        throw badData(where, `wire type ${wireType} at byte ${at}, expected 0, 1, 2 or 5`);
      }
      if (end > messageEnd) {
        throw badData(
          where,
          `field ${number} at byte ${at} ends at byte ${end}, expected at most ${messageEnd}`,
          "The file is damaged or cut off",
        );
      }
      return { number, wireType, tagStart: at, start, end, value };
    });
  }
}

/** Throws `bad-data` unless `count` is within `limit`. */
export function assertCount(where: string, what: string, count: number, limit: number): void {
  if (count > limit) throw badData(where, `${count} ${what}, expected at most ${limit}`);
}

/** Throws `bad-data` unless the field holds a payload (a string, bytes or a message). */
export function assertPayload(where: string, field: Field): void {
  if (field.wireType !== WireType.LengthDelimited) throw wrongWireType(where, field, "2");
}

/** The integer of a varint field. */
export function integer(where: string, field: Field): number | bigint {
  if (field.wireType !== WireType.Varint) throw wrongWireType(where, field, "0");
  return field.value!;
}

/** The integer of a varint field that has to be small. */
export function smallInteger(where: string, field: Field): number {
  const value = integer(where, field);
  if (typeof value === "number") return value;
  throw badData(where, `field ${field.number} is ${value}, expected an integer within ±2^53`);
}

export function float(where: string, field: Field): number {
  if (field.wireType !== WireType.Bit32) throw wrongWireType(where, field, "5");
  return Number(field.value);
}

/** Reads `[start, end)`; throws `cannot-read` if the source gives fewer bytes than it announced. */
export async function readExactly(
  source: ByteSource,
  start: number,
  end: number,
  into?: Uint8Array,
): Promise<Uint8Array> {
  const bytes = await source.slice(start, end, into);
  if (bytes.byteLength === end - start) return bytes;
  throw new ReparamError("cannot-read", {
    where: source.name,
    what: `${bytes.byteLength} bytes came at byte ${start}, expected ${end - start}`,
  });
}

function wrongWireType(where: string, field: Field, expected: string): ReparamError {
  return badData(
    where,
    `field ${field.number} at byte ${field.tagStart} has wire type ${field.wireType}, expected ${expected}`,
    "The file is damaged or no ONNX model",
  );
}

/** A 64-bit integer as a number where that is exact. */
function narrow(value: bigint | string): number | bigint {
  const wide = BigInt(value);
  const number = Number(wide);
  return Number.isSafeInteger(number) ? number : wide;
}

/** Turns the wire library's complaints into ours. */
function guard<T>(where: string, at: number, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof ReparamError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ReparamError("bad-data", {
      where,
      what: `no valid field at byte ${at} (${reason})`,
      fix: "The file is damaged or no ONNX model",
      cause,
    });
  }
}
