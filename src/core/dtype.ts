/**
 * @file Element types, in ONNX spelling, and their conversion to and from float64.
 *
 * Decoding to float64 is exact for every type here up to 64-bit integers beyond 2^53 (those are never converted
 * silently: `decodeFloat64` throws). Encoding rounds once, to nearest, ties to even (IEEE 754).
 */

import { badData } from "./errors.ts";

export type DType =
  | "float32"
  | "float64"
  | "float16"
  | "bfloat16"
  | "int8"
  | "int16"
  | "int32"
  | "int64"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64"
  | "bool"
  | "complex64"
  | "complex128"
  | "float8e4m3fn"
  | "float8e5m2";

/** Bytes per element. */
export const DTYPE_BYTES: Readonly<Record<DType, number>> = {
  float32: 4,
  float64: 8,
  float16: 2,
  bfloat16: 2,
  int8: 1,
  int16: 2,
  int32: 4,
  int64: 8,
  uint8: 1,
  uint16: 2,
  uint32: 4,
  uint64: 8,
  bool: 1,
  complex64: 8,
  complex128: 16,
  float8e4m3fn: 1,
  float8e5m2: 1,
};

export type FloatDType = "float64" | "float32" | "float16" | "bfloat16";

/** Unit roundoff u of round-to-nearest: 2^-(p) with p significand bits (IEEE 754; bfloat16 has p = 8). */
export const UNIT_ROUNDOFF: Readonly<Record<FloatDType, number>> = {
  float64: 2 ** -53,
  float32: 2 ** -24,
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
};

/** Smallest positive (subnormal) number: the absolute error floor of one rounding is half of it. */
export const SMALLEST_SUBNORMAL: Readonly<Record<FloatDType, number>> = {
  float64: 2 ** -1074,
  float32: 2 ** -149,
  float16: 2 ** -24,
  bfloat16: 2 ** -133,
};

export function isFloatDType(dtype: DType): dtype is FloatDType {
  return dtype in UNIT_ROUNDOFF;
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/** The float16 bit pattern's value. */
export function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Rounds a float64 to the nearest float16 (ties to even) and returns its bits. One rounding, not two. */
export function numberToFloat16(value: number): number {
  return encodeBits(value, 5, 10);
}

export function bfloat16ToNumber(bits: number): number {
  scratchBits[0] = bits << 16;
  return scratchFloat[0]!;
}

/** Rounds a float64 to the nearest bfloat16 (ties to even) and returns its bits. */
export function numberToBfloat16(value: number): number {
  return encodeBits(value, 8, 7);
}

/** Bits of `value` in the IEEE-like format with the given exponent and fraction widths. */
function encodeBits(value: number, exponentBits: number, fractionBits: number): number {
  const signBit = value < 0 || Object.is(value, -0) ? 1 << (exponentBits + fractionBits) : 0;
  const maxExponent = (1 << exponentBits) - 1;
  if (Number.isNaN(value)) return (maxExponent << fractionBits) | (1 << (fractionBits - 1));
  const magnitude = Math.abs(value);
  const bias = (1 << (exponentBits - 1)) - 1;
  if (magnitude === 0) return signBit;
  if (magnitude === Number.POSITIVE_INFINITY) return signBit | (maxExponent << fractionBits);
  // floor(log2) may be off by one near powers of two; the two corrections make it exact.
  let exponent = Math.floor(Math.log2(magnitude));
  if (2 ** exponent > magnitude) exponent--;
  else if (2 ** (exponent + 1) <= magnitude) exponent++;
  exponent = Math.max(exponent, 1 - bias);
  const units = roundTiesToEven(magnitude / 2 ** (exponent - fractionBits));
  // A carry out of the fraction flows into the exponent field by plain addition.
  const fieldExponent = units >= 1 << fractionBits ? exponent + bias : 0;
  const bits =
    fieldExponent === 0 ? units : (fieldExponent << fractionBits) + (units - (1 << fractionBits));
  return signBit | Math.min(bits, maxExponent << fractionBits);
}

function roundTiesToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest < 0.5) return floor;
  if (rest > 0.5) return floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

function float8ToNumber(bits: number, dtype: "float8e4m3fn" | "float8e5m2"): number {
  if (dtype === "float8e5m2") return float16ToNumber(bits << 8);
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >> 3) & 0xf;
  const fraction = bits & 7;
  if (exponent === 15 && fraction === 7) return Number.NaN;
  return exponent === 0
    ? sign * fraction * 2 ** -9
    : sign * (1 + fraction / 8) * 2 ** (exponent - 7);
}

/**
 * A typed array of `bytes` without a copy where the platform allows it (aligned, little-endian), else of a copy.
 * All supported JavaScript platforms are little-endian; `core/platform.test.ts` asserts it.
 */
function viewOf<T>(
  bytes: Uint8Array,
  ctor: { new (buffer: ArrayBufferLike, offset: number, length: number): T },
  size: number,
): T {
  // A copy starts at 0; not `slice()`, which a Node Buffer answers with shared memory.
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  return new ctor(aligned.buffer, aligned.byteOffset, aligned.byteLength / size);
}

export function float32View(bytes: Uint8Array): Float32Array {
  return viewOf(bytes, Float32Array, 4);
}

/** Little-endian element bytes as float64 values, exactly. Throws `bad-data` for int64 beyond ±2^53 and complex. */
export function decodeFloat64(bytes: Uint8Array, dtype: DType): Float64Array {
  const count = bytes.byteLength / DTYPE_BYTES[dtype];
  switch (dtype) {
    case "float64":
      return viewOf(bytes, Float64Array, 8).slice();
    case "float32":
      return new Float64Array(viewOf(bytes, Float32Array, 4));
    case "float16":
      return Float64Array.from(viewOf(bytes, Uint16Array, 2), float16ToNumber);
    case "bfloat16":
      return Float64Array.from(viewOf(bytes, Uint16Array, 2), bfloat16ToNumber);
    case "float8e4m3fn":
    case "float8e5m2":
      return Float64Array.from(bytes, (b) => float8ToNumber(b, dtype));
    case "int8":
      return Float64Array.from(viewOf(bytes, Int8Array, 1));
    case "int16":
      return Float64Array.from(viewOf(bytes, Int16Array, 2));
    case "int32":
      return Float64Array.from(viewOf(bytes, Int32Array, 4));
    case "uint8":
    case "bool":
      return Float64Array.from(bytes);
    case "uint16":
      return Float64Array.from(viewOf(bytes, Uint16Array, 2));
    case "uint32":
      return Float64Array.from(viewOf(bytes, Uint32Array, 4));
    case "int64":
    case "uint64": {
      const wide =
        dtype === "int64"
          ? viewOf<BigInt64Array | BigUint64Array>(bytes, BigInt64Array, 8)
          : viewOf<BigInt64Array | BigUint64Array>(bytes, BigUint64Array, 8);
      const values = new Float64Array(count);
      for (let i = 0; i < count; i++) {
        const value = Number(wide[i]!);
        if (!Number.isSafeInteger(value)) {
          throw badData(
            "tensor",
            `${dtype} value ${wide[i]} cannot be represented exactly as float64`,
          );
        }
        values[i] = value;
      }
      return values;
    }
    default:
      throw badData("tensor", `dtype ${dtype} has no real float64 value`);
  }
}

/** Rounds float64 values once to `dtype` and returns little-endian bytes. */
export function encodeFloat64(values: Float64Array, dtype: FloatDType): Uint8Array {
  switch (dtype) {
    case "float64":
      return bytesOf(values.slice());
    case "float32":
      return bytesOf(new Float32Array(values));
    case "float16":
      return bytesOf(Uint16Array.from(values, numberToFloat16));
    case "bfloat16":
      return bytesOf(Uint16Array.from(values, numberToBfloat16));
  }
}

/** The bytes under a typed array, without a copy. */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
