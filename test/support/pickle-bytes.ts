/** @file Pickles and PyTorch containers made by hand, for tests: each function gives the bytes that leave one value. */

import { memorySink } from "../../src/core/byte-sink.ts";
import { createZipWriter } from "../../src/formats/zip/write-zip.ts";

export type Bytes = readonly number[];

const encoder = new TextEncoder();
const ascii = (text: string): number[] => [...encoder.encode(text)];
const uint32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 255);

export const none: Bytes = [0x4e];
export const yes: Bytes = [0x88];
export const no: Bytes = [0x89];
export const text = (value: string): Bytes => {
  const encoded = ascii(value);
  return [0x58, ...uint32(encoded.length), ...encoded];
};
export const int = (value: number): Bytes => [0x4a, ...uint32(value)];
export const float = (value: number): Bytes => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value, false);
  return [0x47, ...bytes];
};
export const name = (module: string, member: string): Bytes => [
  0x63,
  ...ascii(`${module}\n${member}\n`),
];
export const tuple = (...items: Bytes[]): Bytes => [0x28, ...items.flat(), 0x74];
export const list = (...items: Bytes[]): Bytes => [0x5d, 0x28, ...items.flat(), 0x65];
export const dict = (entries: Readonly<Record<string, Bytes>>): Bytes => [
  0x7d,
  0x28,
  ...Object.entries(entries).flatMap(([key, value]) => [...text(key), ...value]),
  0x75,
];
export const call = (callable: Bytes, ...args: Bytes[]): Bytes => [
  ...callable,
  ...tuple(...args),
  0x52,
];
export const persistent = (id: Bytes): Bytes => [...id, 0x51];
/** `cls.__new__(cls)` with a state. */
export const instance = (cls: Bytes, state: Bytes): Bytes => [...cls, 0x29, 0x81, ...state, 0x62];
export const set = (...items: Bytes[]): Bytes => call(name("__builtin__", "set"), list(...items));

export function pickle(value: Bytes, protocol = 2): Uint8Array {
  return Uint8Array.from([0x80, protocol, ...value, 0x2e]);
}

export interface TensorParts {
  readonly key: string;
  readonly count: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset?: number;
  readonly storage?: string;
}

export function storage(key: string, count: number, cls = "FloatStorage"): Bytes {
  return persistent(tuple(text("storage"), name("torch", cls), text(key), text("cpu"), int(count)));
}

export function tensor(parts: TensorParts): Bytes {
  const { key, count, shape, strides, offset = 0, storage: cls } = parts;
  return call(
    name("torch._utils", "_rebuild_tensor_v2"),
    storage(key, count, cls),
    int(offset),
    tuple(...shape.map(int)),
    tuple(...strides.map(int)),
    no,
    call(name("collections", "OrderedDict")),
  );
}

/** A float32 vector on a storage of its own. */
export function vector(key: string, count: number): Bytes {
  return tensor({ key, count, shape: [count], strides: [1] });
}

export function floats(...values: number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

export async function zipFile(
  entries: Readonly<Record<string, Uint8Array | string>>,
): Promise<Uint8Array> {
  const sink = memorySink();
  const zip = createZipWriter(sink);
  for (const [path, content] of Object.entries(entries)) {
    const bytes = typeof content === "string" ? encoder.encode(content) : content;
    await zip.entry(path, bytes.byteLength, [bytes]);
  }
  await zip.finish();
  return sink.bytes();
}

/** A PyTorch zip of one object and its storages by key. */
export function torchZip(
  value: Bytes,
  storages: Readonly<Record<string, Uint8Array>> = {},
  extra: Readonly<Record<string, string>> = { version: "3\n" },
): Promise<Uint8Array> {
  const entries: Record<string, Uint8Array | string> = { "net/data.pkl": pickle(value) };
  for (const [key, bytes] of Object.entries(storages)) entries[`net/data/${key}`] = bytes;
  for (const [key, content] of Object.entries(extra)) entries[`net/${key}`] = content;
  return zipFile(entries);
}

const MAGIC: Bytes = [0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/** A file as PyTorch wrote it before 1.6: five pickles, then count and float32 elements per key. */
export function torchLegacy(
  value: Bytes,
  storages: readonly (readonly [key: string, elements: Uint8Array])[],
  machine: Bytes = dict({ little_endian: yes }),
): Uint8Array {
  const parts: Uint8Array[] = [
    pickle(MAGIC),
    pickle(int(1001)),
    pickle(machine),
    pickle(value),
    pickle(list(...storages.map(([key]) => text(key)))),
  ];
  for (const [, elements] of storages) {
    const count = new Uint8Array(8);
    new DataView(count.buffer).setBigInt64(0, BigInt(elements.byteLength / 4), true);
    parts.push(count, elements);
  }
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
