/** @file Tensors: shape, dtype and bytes; and lazy tensors, whose bytes are read when asked for. */

import { bytesOf, DTYPE_BYTES, type DType, decodeFloat64 } from "./dtype.ts";
import { badData } from "./errors.ts";

export type Shape = readonly number[];

/** A dense tensor in memory: C order, little-endian. */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: Shape;
  /** `elementCount(shape) * DTYPE_BYTES[dtype]` bytes */
  readonly bytes: Uint8Array;
}

/** A tensor whose elements are read on demand. Reading twice gives the same bytes. */
export interface LazyTensor {
  readonly dtype: DType;
  readonly shape: Shape;
  /**
   * Elements `[start, end)` in C order as little-endian bytes; the whole tensor by default.
   * The result may be a view of shared memory: callers must not write to it.
   *
   * @param into at least as many bytes, which may be used for the result in place of new memory, or not
   */
  read(start?: number, end?: number, into?: Uint8Array): Promise<Uint8Array>;
}

/** Named tensors in file order. */
export type TensorMap = ReadonlyMap<string, LazyTensor>;

/** What a pickled `nn.Module` says beside its tensors. Field names are the checkpoint's own (PyTorch). */
export interface ModuleRecord {
  /** Class path as pickled, e.g. `torch.nn.modules.batchnorm.BatchNorm2d`; never imported or executed. */
  readonly className: string;
  /** Plain numbers, booleans, strings and number tuples of the module's attributes, e.g. `eps`, `stride`, `groups`. */
  readonly attributes: Readonly<Record<string, number | boolean | string | readonly number[]>>;
}

/** One set of named weights, with what the file knows about the modules that own them. */
export interface StateDict {
  readonly tensors: TensorMap;
  /** By module path (`""` is the root); empty unless the file held a whole pickled module. */
  readonly modules: ReadonlyMap<string, ModuleRecord>;
}

export function elementCount(shape: Shape): number {
  let count = 1;
  for (const n of shape) count *= n;
  return count;
}

export function byteLength(tensor: { readonly dtype: DType; readonly shape: Shape }): number {
  return elementCount(tensor.shape) * DTYPE_BYTES[tensor.dtype];
}

/** `[64, 32, 3, 3]` */
export function formatShape(shape: readonly (number | string | undefined)[]): string {
  return `[${shape.map((n) => n ?? "?").join(", ")}]`;
}

export function tensor(dtype: DType, shape: Shape, data: ArrayBufferView): Tensor {
  const bytes = bytesOf(data);
  const expected = byteLength({ dtype, shape });
  if (bytes.byteLength !== expected) {
    throw badData(
      "tensor",
      `${bytes.byteLength} bytes for ${dtype} ${formatShape(shape)}, expected ${expected}`,
    );
  }
  return { dtype, shape, bytes };
}

/** A lazy tensor over memory. */
export function lazyTensor(value: Tensor): LazyTensor {
  const size = DTYPE_BYTES[value.dtype];
  return {
    dtype: value.dtype,
    shape: value.shape,
    read: async (start = 0, end = elementCount(value.shape)) =>
      value.bytes.subarray(start * size, end * size),
  };
}

export async function readTensor(lazy: LazyTensor): Promise<Tensor> {
  return { dtype: lazy.dtype, shape: lazy.shape, bytes: await lazy.read() };
}

/** All elements as float64, exactly. Throws `bad-data` for values float64 cannot hold. */
export async function readFloat64(lazy: LazyTensor): Promise<Float64Array> {
  return decodeFloat64(await lazy.read(), lazy.dtype);
}

export function float32Tensor(shape: Shape, values: Iterable<number>): Tensor {
  return tensor("float32", shape, Float32Array.from(values));
}

export function int64Tensor(shape: Shape, values: Iterable<number>): Tensor {
  return tensor("int64", shape, BigInt64Array.from(values, BigInt));
}
