/**
 * @file What a pickle becomes: inert records. Nothing here can call anything; a class is its name and an instance is
 * the arguments and state it was stored with.
 */

import type { DType } from "../../core/dtype.ts";

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleList
  | PickleTuple
  | PickleSet
  | PickleDict
  | PickleGlobal
  | PickleObject
  | PickleStorage
  | PickleTensor
  | PickleRefusedTensor;

export interface PickleList {
  readonly kind: "list";
  readonly items: PickleValue[];
}

export interface PickleTuple {
  readonly kind: "tuple";
  readonly items: readonly PickleValue[];
}

export interface PickleSet {
  readonly kind: "set";
  readonly items: PickleValue[];
}

/** Any mapping (dict, OrderedDict, defaultdict, Counter), in insertion order. */
export interface PickleDict {
  readonly kind: "dict";
  readonly strings: Map<string, PickleValue>;
  /** Entries whose key is not a string. */
  readonly others: (readonly [PickleValue, PickleValue])[];
}

/** A class or function by name. It is never looked up anywhere. */
export interface PickleGlobal {
  readonly kind: "global";
  readonly path: string;
}

/** An instance of anything we do not know. */
export interface PickleObject {
  readonly kind: "object";
  readonly className: string;
  readonly args: PickleValue;
  /** What `__setstate__` would have been given; null before BUILD. */
  state: PickleValue;
  /** Items of a subclass of dict or list. */
  readonly entries: PickleDict;
  readonly items: PickleValue[];
}

/** Bytes beside the pickle. */
export interface PickleStorage {
  readonly kind: "storage";
  readonly key: string;
  /** Undefined for an untyped storage, which is counted in bytes. */
  readonly dtype: DType | undefined;
  /** Set for storages whose elements we do not read (quantized); the reason for the message. */
  readonly refused: string | undefined;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** A strided view of a storage; all counts in elements. */
export interface PickleTensor {
  readonly kind: "tensor";
  readonly storage: PickleStorage;
  readonly dtype: DType;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** A tensor that is not a dense array of numbers (sparse, quantized, meta …): refused only where it is needed. */
export interface PickleRefusedTensor {
  readonly kind: "refused-tensor";
  /** e.g. `"a sparse tensor"` */
  readonly what: string;
}

export function createDict(): PickleDict {
  return { kind: "dict", strings: new Map(), others: [] };
}

export function createObject(className: string, args: PickleValue): PickleObject {
  return { kind: "object", className, args, state: null, entries: createDict(), items: [] };
}

export function setItem(dict: PickleDict, key: PickleValue, value: PickleValue): void {
  if (typeof key === "string") dict.strings.set(key, value);
  else dict.others.push([key, value]);
}

/** The value's kind, for branching: `"null" "string" "bytes" "dict" …`. */
export function kindOf(value: PickleValue): string {
  if (value === null) return "null";
  if (value instanceof Uint8Array) return "bytes";
  return typeof value === "object" ? value.kind : typeof value;
}

export function isDict(value: PickleValue | undefined): value is PickleDict {
  return isRecord(value) && value.kind === "dict";
}

export function isObject(value: PickleValue | undefined): value is PickleObject {
  return isRecord(value) && value.kind === "object";
}

/** The items of a tuple or list, else undefined. */
export function sequenceItems(value: PickleValue | undefined): readonly PickleValue[] | undefined {
  return isRecord(value) && (value.kind === "tuple" || value.kind === "list")
    ? value.items
    : undefined;
}

export function isRecord(
  value: PickleValue | undefined,
): value is Exclude<PickleValue, null | boolean | number | bigint | string | Uint8Array> {
  return typeof value === "object" && value !== null && !(value instanceof Uint8Array);
}
