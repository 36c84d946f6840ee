/**
 * @file Writes a state dict as `torch.save` does: an OrderedDict of contiguous tensors, each on a storage of its own.
 * Loads with `torch.load(weights_only=True)`, also memory-mapped, in PyTorch 1.13 and 2.x.
 */

import type { ByteSink } from "../../core/byte-sink.ts";
import { DTYPE_BYTES, type DType } from "../../core/dtype.ts";
import type { TaskOptions } from "../../core/task.ts";
import { byteLength, elementCount, type Shape } from "../../core/tensor.ts";
import { assertDistinctNames, createTensorStream, type NamedTensor } from "../named-tensor.ts";
import { contiguousStrides } from "../strided-tensor.ts";
import type { Crc32 } from "../zip/crc32.ts";
import { createZipWriter } from "../zip/write-zip.ts";
import { createPickleWriter, type PickleWriter } from "./pickle-writer.ts";

export interface WritePytorchOptions extends TaskOptions {
  /** A faster CRC-32, such as Node's `zlib.crc32`; ours by default. */
  readonly crc32?: Crc32 | undefined;
}

const ROOT = "archive";

/** Storage classes of the dtypes that have one. */
const STORAGES: Partial<Readonly<Record<DType, string>>> = {
  float32: "FloatStorage",
  float64: "DoubleStorage",
  float16: "HalfStorage",
  bfloat16: "BFloat16Storage",
  int8: "CharStorage",
  int16: "ShortStorage",
  int32: "IntStorage",
  int64: "LongStorage",
  uint8: "ByteStorage",
  bool: "BoolStorage",
  complex64: "ComplexFloatStorage",
  complex128: "ComplexDoubleStorage",
};

/** Newer dtypes have none: their tensors name the dtype and sit on untyped bytes. */
const UNTYPED: Partial<Readonly<Record<DType, string>>> = {
  uint16: "uint16",
  uint32: "uint32",
  uint64: "uint64",
  float8e4m3fn: "float8_e4m3fn",
  float8e5m2: "float8_e5m2",
};

/**
 * Writes the file front to back, holding one chunk of one tensor at a time. Same tensors, same bytes.
 * Does not close the sink.
 *
 * @throws usage when two tensors share a name; aborted by the signal
 */
export async function writePytorch(
  tensors: Iterable<NamedTensor>,
  sink: ByteSink,
  options: WritePytorchOptions = {},
): Promise<void> {
  const list = [...tensors];
  assertDistinctNames("writePytorch", list);
  const zip = createZipWriter(sink, { crc32: options.crc32 });
  const note = (name: string, text: string): Promise<void> => {
    const bytes = new TextEncoder().encode(text);
    return zip.entry(`${ROOT}/${name}`, bytes.byteLength, [bytes]);
  };
  const pickle = pickleStateDict(list);
  await zip.entry(`${ROOT}/data.pkl`, pickle.byteLength, [pickle]);
  await note("byteorder", "little");
  const stream = createTensorStream(list, options);
  for (const [i, named] of list.entries()) {
    await zip.entry(`${ROOT}/data/${i}`, byteLength(named.tensor), stream.chunks(named));
  }
  await note("version", "3\n");
  await zip.finish();
}

function pickleStateDict(tensors: readonly NamedTensor[]): Uint8Array {
  const writer = createPickleWriter();
  emptyOrderedDict(writer);
  writer.mark();
  tensors.forEach(({ name, tensor }, i) => {
    writer.text(name);
    pickleTensor(writer, tensor.dtype, tensor.shape, String(i));
  });
  writer.setItems();
  return writer.finish();
}

/** `_rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict())`, or v3 with a dtype at the end. */
function pickleTensor(writer: PickleWriter, dtype: DType, shape: Shape, key: string): void {
  const untyped = UNTYPED[dtype];
  writer.global("torch._utils", untyped ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2");
  writer.mark();
  writer.mark();
  writer.text("storage");
  if (untyped) writer.global("torch.storage", "UntypedStorage");
  else writer.global("torch", STORAGES[dtype]!);
  writer.text(key);
  writer.text("cpu");
  writer.integer(elementCount(shape) * (untyped ? DTYPE_BYTES[dtype] : 1));
  writer.tuple();
  writer.persistentId();
  writer.integer(0);
  pickleCounts(writer, shape);
  pickleCounts(writer, contiguousStrides(shape));
  writer.boolean(false);
  emptyOrderedDict(writer);
  if (untyped) writer.global("torch", untyped);
  writer.tuple();
  writer.reduce();
}

function pickleCounts(writer: PickleWriter, counts: readonly number[]): void {
  writer.mark();
  for (const count of counts) writer.integer(count);
  writer.tuple();
}

function emptyOrderedDict(writer: PickleWriter): void {
  writer.global("collections", "OrderedDict");
  writer.emptyTuple();
  writer.reduce();
}
