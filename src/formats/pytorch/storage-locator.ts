/** @file Where the bytes of storages are, and lazy tensors over them. */

import type { ByteSource } from "../../core/byte-source.ts";
import type { LazyTensor } from "../../core/tensor.ts";
import { subSource } from "../read-range.ts";
import { stridedTensor } from "../strided-tensor.ts";
import type { PickleStorage, PickleTensor } from "./pickle-value.ts";

/** Finds a storage's bytes without reading them; throws `bad-data` when the file lacks them. */
export type StorageLocator = (storage: PickleStorage) => ByteSource;

/** A view of a storage as a lazy tensor. `name` is for messages. */
export function lazyPickleTensor(
  tensor: PickleTensor,
  locate: StorageLocator,
  name: string,
): LazyTensor {
  const { storage } = tensor;
  const root = locate(storage);
  const source =
    storage.offsetBytes === 0
      ? root
      : subSource(root, storage.offsetBytes, storage.offsetBytes + storage.sizeBytes);
  return stridedTensor(source, { ...tensor, what: name });
}

/** Equal for two tensors exactly when they are the same view of the same bytes. */
export function tensorIdentity(tensor: PickleTensor): string {
  const { storage, dtype, offset, shape, strides } = tensor;
  return [storage.key, storage.offsetBytes, dtype, offset, shape, strides].join("|");
}
