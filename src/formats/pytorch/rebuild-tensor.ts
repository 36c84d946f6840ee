/**
 * @file PyTorch's own tensor constructors as they appear in pickles (`torch/_utils.py`, `torch/serialization.py`),
 * turned into views of storages. Every view is checked against its storage here, before anything is read.
 */

import { DTYPE_BYTES, type DType } from "../../core/dtype.ts";
import { badData } from "../../core/errors.ts";
import { elementCount, formatShape } from "../../core/tensor.ts";
import { MAX_EXPANDED_BYTES, MAX_TENSOR_RANK } from "./pickle-limits.ts";
import { isRecord, type PickleStorage, type PickleValue, sequenceItems } from "./pickle-value.ts";

/** `torch.X` for a dtype, e.g. in `_rebuild_tensor_v3`. */
const TORCH_DTYPES: Readonly<Record<string, DType>> = {
  float32: "float32",
  float64: "float64",
  float16: "float16",
  bfloat16: "bfloat16",
  int8: "int8",
  int16: "int16",
  int32: "int32",
  int64: "int64",
  uint8: "uint8",
  uint16: "uint16",
  uint32: "uint32",
  uint64: "uint64",
  bool: "bool",
  complex64: "complex64",
  complex128: "complex128",
  float8_e4m3fn: "float8e4m3fn",
  float8_e5m2: "float8e5m2",
};

/** `XStorage` classes. */
const STORAGE_DTYPES: Readonly<Record<string, DType>> = {
  Float: "float32",
  Double: "float64",
  Half: "float16",
  BFloat16: "bfloat16",
  Char: "int8",
  Short: "int16",
  Int: "int32",
  Long: "int64",
  Byte: "uint8",
  Bool: "bool",
  ComplexFloat: "complex64",
  ComplexDouble: "complex128",
};

const REFUSED: Readonly<Record<string, string>> = {
  _rebuild_qtensor: "a quantized tensor",
  _rebuild_sparse_tensor: "a sparse tensor",
  _rebuild_sparse_csr_tensor: "a sparse tensor",
  _rebuild_nested_tensor: "a nested tensor",
  _rebuild_meta_tensor_no_storage: "a meta tensor, which has no values",
  _rebuild_device_tensor_from_numpy: "a tensor of an accelerator stored as a NumPy array",
  _rebuild_device_tensor_from_cpu_tensor: "a tensor of an accelerator PyTorch does not ship",
  _rebuild_wrapper_subclass: "a wrapped tensor",
};

/** The dtype a storage class or `torch.X` dtype stands for; undefined if it is neither. */
function dtypeOf(path: string): DType | undefined {
  const name = path.slice(path.lastIndexOf(".") + 1);
  return path.startsWith("torch.") && Object.hasOwn(TORCH_DTYPES, name)
    ? TORCH_DTYPES[name]
    : undefined;
}

/**
 * The persistent id `("storage", class, key, location, count[, view])` as a storage.
 *
 * @throws bad-data when it has another form
 */
export function storageOf(where: string, id: PickleValue): PickleStorage {
  const [tag, cls, key, , count, view] = sequenceItems(id) ?? [];
  const sound =
    tag === "storage" &&
    isRecord(cls) &&
    cls.kind === "global" &&
    (typeof key === "string" || typeof key === "number") &&
    isCount(count);
  if (!sound) {
    throw badData(
      where,
      "a persistent id is not one of PyTorch's storages",
      "It is not a checkpoint made by torch.save",
    );
  }
  const name = cls.path.slice(cls.path.lastIndexOf(".") + 1).replace(/Storage$/, "");
  const dtype = Object.hasOwn(STORAGE_DTYPES, name) ? STORAGE_DTYPES[name] : undefined;
  const untyped = name === "Untyped" || name === "Typed" || name === "_Untyped";
  const itemBytes = dtype ? DTYPE_BYTES[dtype] : 1;
  const storage: PickleStorage = {
    kind: "storage",
    key: String(key),
    dtype,
    refused: dtype || untyped ? undefined : `a tensor in a ${cls.path}`,
    offsetBytes: 0,
    sizeBytes: count * itemBytes,
  };
  return view === undefined || view === null ? storage : viewOfStorage(where, storage, view);
}

/** Files before PyTorch 0.4 cut storages out of others: `(key, offset, count)` in elements. */
function viewOfStorage(where: string, root: PickleStorage, view: PickleValue): PickleStorage {
  const [, offset, count] = sequenceItems(view) ?? [];
  const itemBytes = root.dtype ? DTYPE_BYTES[root.dtype] : 1;
  if (!isCount(offset) || !isCount(count) || (offset + count) * itemBytes > root.sizeBytes) {
    throw badData(where, `a view of storage ${root.key} lies outside it`, "The file is damaged");
  }
  return { ...root, offsetBytes: offset * itemBytes, sizeBytes: count * itemBytes };
}

/** The tensor that PyTorch's `path(*items)` would make; undefined if `path` is no tensor constructor. */
export function rebuildTensor(
  where: string,
  path: string,
  items: readonly PickleValue[],
): PickleValue | undefined {
  if (!path.startsWith("torch._utils.")) return undefined;
  const name = path.slice("torch._utils.".length);
  if (Object.hasOwn(REFUSED, name)) return { kind: "refused-tensor", what: REFUSED[name]! };
  switch (name) {
    case "_rebuild_parameter":
    case "_rebuild_parameter_with_state":
      return items[0] ?? null;
    case "_rebuild_tensor":
    case "_rebuild_tensor_v2":
      return stridedTensor(where, items, undefined);
    case "_rebuild_tensor_v3": {
      const dtype = items[6];
      return stridedTensor(
        where,
        items,
        isRecord(dtype) && dtype.kind === "global" ? dtype.path : "?",
      );
    }
    default:
      return undefined;
  }
}

function stridedTensor(
  where: string,
  items: readonly PickleValue[],
  dtypePath: string | undefined,
): PickleValue {
  const [storage, offset, size, stride] = items;
  const shape = sequenceItems(size);
  const strides = sequenceItems(stride);
  if (!isRecord(storage) || storage.kind !== "storage") {
    throw badData(
      where,
      "a tensor is built on something that is not a storage",
      "The file is damaged",
    );
  }
  const dtype = dtypePath === undefined ? storage.dtype : dtypeOf(dtypePath);
  if (storage.refused !== undefined || dtype === undefined) {
    return {
      kind: "refused-tensor",
      what: storage.refused ?? `a tensor of dtype ${dtypePath ?? "?"}`,
    };
  }
  const label = `${where}: tensor on storage ${storage.key}`;
  const rank = shape?.length ?? 0;
  if (rank !== (strides?.length ?? 0) || rank > MAX_TENSOR_RANK) {
    throw badData(
      label,
      `${rank} dimensions and ${strides?.length ?? 0} strides, expected as many of each, at most ${MAX_TENSOR_RANK}`,
    );
  }
  if (!isCount(offset) || !shape?.every(isCount) || !strides?.every(isCount)) {
    throw badData(label, "its offset, shape and strides are not all counts", "The file is damaged");
  }
  const itemBytes = DTYPE_BYTES[dtype];
  const count = elementCount(shape);
  let last = offset;
  shape.forEach((n, i) => {
    last += Math.max(0, n - 1) * strides[i]!;
  });
  if (count > 0 && !((last + 1) * itemBytes <= storage.sizeBytes)) {
    throw badData(
      label,
      `shape ${formatShape(shape)} with strides ${formatShape(strides)} from element ${offset} needs ${(last + 1) * itemBytes} bytes, the storage has ${storage.sizeBytes}`,
      "The file is damaged",
    );
  }
  if (!(count * itemBytes <= Math.max(storage.sizeBytes, MAX_EXPANDED_BYTES))) {
    throw badData(
      label,
      `shape ${formatShape(shape)} repeats its storage to ${count * itemBytes} bytes, expected at most ${MAX_EXPANDED_BYTES}`,
    );
  }
  return { kind: "tensor", storage, dtype, offset, shape, strides };
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
