/**
 * @file Writes a model as ONNX. The layout is computed first, then streamed: tensors are read in pieces, never whole.
 * The same model gives the same bytes.
 */

import { type ByteSink, memorySink } from "../../core/byte-sink.ts";
import { ReparamError, throwIfAborted } from "../../core/errors.ts";
import type { TaskOptions } from "../../core/task.ts";
import { byteLength, type LazyTensor } from "../../core/tensor.ts";
import type { Graph, Model } from "../../ir/graph.ts";
import { createTensorStream } from "../named-tensor.ts";
import { assertLocation } from "./external-data.ts";
import { MessageWriter, type Piece, sizeOf, type TensorPiece } from "./message-writer.ts";
import { ENTRY, MODEL, OPSET } from "./schema.ts";
import { type ExternalPlacement, writeGraph } from "./write-graph.ts";

/** Protobuf's own limit for one message: 2 GiB less one byte. */
const MAX_MODEL_BYTES = 2 ** 31 - 1;
/** Small pieces are gathered up to this many bytes. */
const CHUNK_BYTES = 4 * 2 ** 20;
/** Large external tensors start on a page, so that a runtime can map them into memory. */
const PAGE_BYTES = 4096;
const PAGE_ALIGN_FROM_BYTES = 2 ** 20;
/** Other external tensors start on a cache line. */
const ALIGN_BYTES = 64;
/** Tensors below this many bytes stay in the model file by default. */
const DEFAULT_MIN_EXTERNAL_BYTES = 1024;

export interface ExternalOutput {
  /** The data file's path relative to the model's folder, as written into the model. */
  readonly location: string;
  readonly sink: ByteSink;
  /** Initializers of at least this many bytes go out. Default 1024. */
  readonly minBytes?: number;
}

export interface WriteModelOptions extends TaskOptions {
  /** Writes the initializers' data to a second file; needed above 2 GiB. */
  readonly external?: ExternalOutput;
}

/**
 * Writes `model` to `sink`; the caller closes (or aborts) `sink` and `external.sink`.
 * Throws `refused` when the file would pass 2 GiB, before anything is written.
 */
export async function writeModel(
  model: Model,
  sink: ByteSink,
  options: WriteModelOptions = {},
): Promise<void> {
  const { external } = options;
  const placement = external && placeTensors(model.graph, external);
  const pieces = layOutModel(model, placement?.place);
  const modelBytes = sizeOf(pieces);
  if (modelBytes > MAX_MODEL_BYTES) {
    throw new ReparamError("refused", {
      where: `model ${model.graph.name}`,
      what: `the file would have ${modelBytes} bytes, at most ${MAX_MODEL_BYTES} fit into one ONNX file`,
      fix: "Write the weights to a second file (external data)",
    });
  }
  const total = modelBytes + (placement?.sizeBytes ?? 0);
  const report = progressReporter(options, total);
  if (external && placement) await streamPieces(placement.pieces, external.sink, report);
  await streamPieces(pieces, sink, report);
}

/** `writeModel` into memory. */
export async function modelToBytes(model: Model): Promise<Uint8Array> {
  const sink = memorySink();
  await writeModel(model, sink);
  return sink.bytes();
}

function layOutModel(model: Model, place: ExternalPlacement | undefined): Piece[] {
  const out = new MessageWriter();
  out.int(MODEL.irVersion, writtenIrVersion(model));
  out.optionalString(MODEL.producerName, model.producerName);
  out.optionalString(MODEL.producerVersion, model.producerVersion);
  out.message(MODEL.graph, (m) => writeGraph(m, model.graph, place));
  for (const [domain, version] of model.opsets) {
    out.message(MODEL.opsetImport, (m) => {
      m.string(OPSET.domain, domain);
      m.int(OPSET.version, version);
    });
  }
  for (const [key, value] of model.metadata) {
    out.message(MODEL.metadataProps, (m) => {
      m.string(ENTRY.key, key);
      m.string(ENTRY.value, value);
    });
  }
  out.fields(model.extra);
  return out.finish();
}

/** IR version 3 wants every initializer listed as a graph input; an edited graph may no longer do so, which is version 4. */
function writtenIrVersion(model: Model): number {
  if (model.irVersion >= 4) return model.irVersion;
  const inputs = new Set(model.graph.inputs.map((input) => input.name));
  const allListed = [...model.graph.initializers.keys()].every((name) => inputs.has(name));
  return allListed ? model.irVersion : 4;
}

interface Placement {
  readonly place: ExternalPlacement;
  readonly pieces: readonly Piece[];
  readonly sizeBytes: number;
}

function placeTensors(graph: Graph, external: ExternalOutput): Placement {
  const { location, minBytes = DEFAULT_MIN_EXTERNAL_BYTES } = external;
  assertLocation("external.location", location, "usage");
  const offsets = new Map<LazyTensor, number>();
  const pieces: Piece[] = [];
  let end = 0;
  for (const [name, tensor] of graph.initializers) {
    const sizeBytes = byteLength(tensor);
    if (sizeBytes < minBytes || sizeBytes === 0 || offsets.has(tensor)) continue;
    const align = sizeBytes >= PAGE_ALIGN_FROM_BYTES ? PAGE_BYTES : ALIGN_BYTES;
    const offset = Math.ceil(end / align) * align;
    if (offset > end) pieces.push(new Uint8Array(offset - end));
    pieces.push({ tensor, name, sizeBytes });
    offsets.set(tensor, offset);
    end = offset + sizeBytes;
  }
  return {
    place: (_name, tensor) => {
      const offset = offsets.get(tensor);
      return offset === undefined ? undefined : { location, offset };
    },
    pieces,
    sizeBytes: end,
  };
}

type Report = (label: string, bytes: number) => void;

function progressReporter(options: TaskOptions, total: number): Report {
  let done = 0;
  return (label, bytes) => {
    throwIfAborted(options.signal);
    done += bytes;
    options.onProgress?.({ label, done, total });
  };
}

/** Writes the pieces in order; small ones are gathered, tensors go through in chunks. */
async function streamPieces(
  pieces: readonly Piece[],
  sink: ByteSink,
  report: Report,
): Promise<void> {
  const buffer = new Uint8Array(Math.min(CHUNK_BYTES, sizeOf(pieces)));
  let used = 0;
  const put = async (bytes: Uint8Array): Promise<void> => {
    if (used > 0 && used + bytes.byteLength > buffer.byteLength) {
      await sink.write(buffer.subarray(0, used));
      used = 0;
    }
    if (bytes.byteLength >= buffer.byteLength) {
      await sink.write(bytes);
    } else {
      buffer.set(bytes, used);
      used += bytes.byteLength;
    }
  };
  const stream = createTensorStream(pieces.filter(isTensorPiece), {});
  for (const piece of pieces) {
    if (!isTensorPiece(piece)) {
      await put(piece);
      report("graph", piece.byteLength);
    } else {
      for await (const chunk of stream.chunks(piece)) {
        await put(chunk);
        report(piece.name, chunk.byteLength);
      }
    }
  }
  if (used > 0) await sink.write(buffer.subarray(0, used));
}

function isTensorPiece(piece: Piece): piece is TensorPiece {
  return !(piece instanceof Uint8Array);
}
