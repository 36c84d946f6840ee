/** @file CRC-32 (ISO 3309, polynomial 0xEDB88320 reflected), eight bytes per step with eight tables. */

/** Continues a CRC-32 over more bytes; `seed` is the value so far, 0 at the start. Same shape as Node's `zlib.crc32`. */
export type Crc32 = (bytes: Uint8Array, seed: number) => number;

const POLYNOMIAL = 0xedb88320;
const STEP = 8;

let cached: Int32Array | undefined;

/** Table k, entry b: the CRC of byte b followed by k zero bytes; `[8 * 256]`. */
function tables(): Int32Array {
  if (cached) return cached;
  const table = new Int32Array(STEP * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    table[byte] = crc;
  }
  for (let i = 256; i < table.length; i++) {
    const previous = table[i - 256]!;
    table[i] = (previous >>> 8) ^ table[previous & 255]!;
  }
  cached = table;
  return table;
}

export function crc32(bytes: Uint8Array, seed: number): number {
  const table = tables();
  let crc = ~seed;
  let i = 0;
  for (const last = bytes.length - STEP; i <= last; i += STEP) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc =
      table[1792 + (crc & 255)]! ^
      table[1536 + ((crc >>> 8) & 255)]! ^
      table[1280 + ((crc >>> 16) & 255)]! ^
      table[1024 + (crc >>> 24)]! ^
      table[768 + bytes[i + 4]!]! ^
      table[512 + bytes[i + 5]!]! ^
      table[256 + bytes[i + 6]!]! ^
      table[bytes[i + 7]!]!;
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]!) & 255]!;
  return ~crc >>> 0;
}
