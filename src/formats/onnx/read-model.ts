/** @file Reads an ONNX model: its structure now, its tensors when they are asked for. */

import type { ByteSource } from "../../core/byte-source.ts";
import { badData, throwIfAborted } from "../../core/errors.ts";
import type { TaskOptions } from "../../core/task.ts";
import type { Graph, Model } from "../../ir/graph.ts";
import { validateModel } from "../../ir/validate.ts";
import type { ExternalFiles } from "./external-data.ts";
import { ONNX_LIMITS, type OnnxLimits } from "./limits.ts";
import {
  assertCount,
  assertPayload,
  type Field,
  MessageReader,
  smallInteger,
} from "./message-reader.ts";
import { readGraph } from "./read-graph.ts";
import { readEntry, type TensorContext } from "./read-tensor.ts";
import { IR_VERSION_RANGE, MODEL, OPSET, OPSET_RANGE } from "./schema.ts";

export interface ReadModelOptions extends TaskOptions {
  /** Opens data files beside the model; without it, a model with external data is refused. */
  readonly external?: ExternalFiles | undefined;
  /** Other limits than `ONNX_LIMITS`. */
  readonly limits?: Partial<OnnxLimits> | undefined;
}

/**
 * Reads and validates the model in `source`. Tensor data is not read; every `LazyTensor` reads it from `source`,
 * which has to stay open. Throws `bad-data` for damaged files and for opsets outside 7 to 22,
 * `not-found` for external data without `options.external`.
 */
export async function readModel(
  source: ByteSource,
  options: ReadModelOptions = {},
): Promise<Model> {
  const { name: where, byteLength: total } = source;
  const reader = new MessageReader(source, { ...ONNX_LIMITS, ...options.limits });
  const context: TensorContext = { reader, external: options.external, opened: new Map() };
  const opsets = new Map<string, number>();
  const metadata = new Map<string, string>();
  const extra: Uint8Array[] = [];
  let [irVersion, producerName, producerVersion] = [0, "", ""];
  let graph: Graph | undefined;
  for await (const field of reader.each(where, 0, total)) {
    switch (field.number) {
      case MODEL.irVersion:
        irVersion = smallInteger(where, field);
        break;
      case MODEL.producerName:
        producerName = await reader.text(where, field);
        break;
      case MODEL.producerVersion:
        producerVersion = await reader.text(where, field);
        break;
      case MODEL.graph:
        if (graph) throw badData(where, "it holds two graphs, expected one");
        graph = await readGraph(context, where, field, 1, (done) => {
          throwIfAborted(options.signal);
          options.onProgress?.({ label: where, done, total });
        });
        break;
      case MODEL.opsetImport: {
        const [domain, version] = await readOpset(reader, where, field);
        opsets.set(domain, version);
        assertCount(where, "opset imports", opsets.size, reader.limits.modelEntries);
        break;
      }
      case MODEL.metadataProps: {
        const [key, value] = await readEntry(reader, where, field);
        metadata.set(key, value);
        assertCount(where, "metadata entries", metadata.size, reader.limits.modelEntries);
        break;
      }
      default:
        extra.push(await reader.keep(where, field.tagStart, field.end));
    }
  }
  if (!graph) throw badData(where, "no graph found, expected an ONNX model");
  assertVersions(where, irVersion, opsets);
  const model: Model = {
    irVersion,
    opsets,
    producerName,
    producerVersion,
    graph,
    metadata,
    ...(extra.length > 0 && { extra }),
  };
  validateModel(model, where);
  return model;
}

async function readOpset(
  reader: MessageReader,
  where: string,
  field: Field,
): Promise<[domain: string, version: number]> {
  assertPayload(where, field);
  let [domain, version] = ["", 0];
  for (const part of await reader.fields(where, field.start, field.end)) {
    if (part.number === OPSET.domain) domain = await reader.text(where, part);
    else if (part.number === OPSET.version) version = smallInteger(where, part);
  }
  return [domain === "ai.onnx" ? "" : domain, version];
}

function assertVersions(
  where: string,
  irVersion: number,
  opsets: ReadonlyMap<string, number>,
): void {
  const { min, max } = IR_VERSION_RANGE;
  if (irVersion < min || irVersion > max) {
    throw badData(where, `IR version ${irVersion}, expected ${min} to ${max}`, EXPORT_AGAIN);
  }
  const opset = opsets.get("");
  if (opset === undefined) {
    throw badData(where, "it does not say which version of the ONNX operators it uses");
  }
  if (opset < OPSET_RANGE.min || opset > OPSET_RANGE.max) {
    throw badData(
      where,
      `opset ${opset}, expected ${OPSET_RANGE.min} to ${OPSET_RANGE.max}`,
      EXPORT_AGAIN,
    );
  }
}

const EXPORT_AGAIN = `Export the model again with an opset of ${OPSET_RANGE.min} to ${OPSET_RANGE.max}, e.g. 17`;
