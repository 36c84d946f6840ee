/** @file Writes safetensors: names in the order given, data sorted by element size so that every tensor is aligned. */

import type { ByteSink } from "../../core/byte-sink.ts";
import { DTYPE_BYTES, type DType } from "../../core/dtype.ts";
import { ReparamError } from "../../core/errors.ts";
import type { TaskOptions } from "../../core/task.ts";
import { byteLength } from "../../core/tensor.ts";
import { assertDistinctNames, createTensorStream, type NamedTensor } from "../named-tensor.ts";
import { SAFETENSORS_DTYPES } from "./read-safetensors.ts";

export interface WriteSafetensorsOptions extends TaskOptions {
  /** Text to text; `{ format: "pt" }` by default, which transformers and timm expect. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

const CODES: ReadonlyMap<DType, string> = new Map(
  Object.entries(SAFETENSORS_DTYPES).map(([code, dtype]) => [dtype, code]),
);
const HEADER_ALIGNMENT = 8;

/**
 * Writes the file front to back, holding one chunk of one tensor at a time. Does not close the sink.
 *
 * @throws usage when two tensors share a name or one has a dtype safetensors lacks; aborted by the signal
 */
export async function writeSafetensors(
  tensors: Iterable<NamedTensor>,
  sink: ByteSink,
  options: WriteSafetensorsOptions = {},
): Promise<void> {
  const { metadata = { format: "pt" } } = options;
  const list = [...tensors];
  assertDistinctNames("writeSafetensors", list);
  // Array.prototype.sort is stable: tensors of one size keep their order.
  const order = [...list].sort((a, b) => DTYPE_BYTES[b.tensor.dtype] - DTYPE_BYTES[a.tensor.dtype]);
  const offsets = new Map<string, readonly [number, number]>();
  let at = 0;
  for (const { name, tensor } of order) {
    const end = at + byteLength(tensor);
    offsets.set(name, [at, end]);
    at = end;
  }
  await sink.write(headerBytes(list, offsets, metadata));
  const stream = createTensorStream(order, options);
  for (const named of order) {
    for await (const chunk of stream.chunks(named)) await sink.write(chunk);
  }
}

function headerBytes(
  list: readonly NamedTensor[],
  offsets: ReadonlyMap<string, readonly [number, number]>,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  // Built as text: an object would move keys that look like integers to the front.
  const parts: string[] = [];
  if (Object.keys(metadata).length > 0) parts.push(`"__metadata__":${JSON.stringify(metadata)}`);
  for (const { name, tensor } of list) {
    const dtype = CODES.get(tensor.dtype);
    if (dtype === undefined || name === "__metadata__") {
      throw new ReparamError("usage", {
        where: `writeSafetensors: ${name}`,
        what: dtype ? "this name is reserved" : `${tensor.dtype} cannot be stored as safetensors`,
        fix: dtype ? "Rename the tensor" : "Write a .pth file instead",
      });
    }
    const entry = { dtype, shape: tensor.shape, data_offsets: offsets.get(name) };
    parts.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  }
  const json = new TextEncoder().encode(`{${parts.join(",")}}`);
  const length = Math.ceil(json.byteLength / HEADER_ALIGNMENT) * HEADER_ALIGNMENT;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}
