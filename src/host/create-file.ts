/** @file A RepVGG with seeded weights as a file: a checkpoint or an ONNX model. */

import { crc32 } from "node:zlib";
import type { GraphOptions } from "../convert/deploy-graph.ts";
import type { TaskOptions } from "../core/task.ts";
import type { StateDict } from "../core/tensor.ts";
import { writeModel } from "../formats/onnx/write-model.ts";
import { writePytorch } from "../formats/pytorch/write-pytorch.ts";
import { writeSafetensors } from "../formats/safetensors/write-safetensors.ts";
import type { Model } from "../ir/graph.ts";
import type { CreationResult } from "../report/result.ts";
import {
  buildRepVgg,
  countParameters,
  createRepVgg,
  type RepVggArch,
  repVggKeys,
  type Statistics,
} from "../zoo/nets/index.ts";
import { dataFileOf, needsDataFile } from "./data-file.ts";
import { createFileSink, type FileSink } from "./file-sink.ts";
import { openFile } from "./file-source.ts";
import { targetFormat } from "./target-format.ts";

export interface CreateFileOptions extends TaskOptions, GraphOptions {
  /** Default `training`. */
  readonly form?: "training" | "deploy" | undefined;
  /** Any integer; equal seeds give equal bytes. Default 0. */
  readonly seed?: number | undefined;
  /** What the BatchNorms hold. Default `random`, which tests need. */
  readonly statistics?: Statistics | undefined;
  /** Overwrite an existing file. Default false. */
  readonly force?: boolean | undefined;
}

/**
 * Writes `arch` to `path`, whose ending chooses the format. ONNX weights above 2 GiB go to `<path>.data`.
 *
 * @throws usage, cannot-write, aborted
 */
export async function createModelFile(
  arch: RepVggArch,
  path: string,
  options: CreateFileOptions = {},
): Promise<CreationResult> {
  const { form = "training", seed = 0, statistics = "random", force = false } = options;
  const { signal, onProgress } = options;
  const target = targetFormat(path);
  const state = createRepVgg(arch, form, { seed, statistics });
  const model = target === "onnx" ? graphOf(arch, form, state, options) : undefined;
  const dataFile = model && needsDataFile(model) ? dataFileOf(path) : undefined;
  const sinks: FileSink[] = [];
  const open = async (at: string): Promise<FileSink> => {
    const sink = await createFileSink(at, { force });
    sinks.push(sink);
    return sink;
  };
  try {
    // Data first: whoever sees the model finds its data.
    const data = dataFile && (await open(dataFile.path));
    const sink = await open(path);
    if (model) {
      const external = data && { location: dataFile.location, sink: data };
      await writeModel(model, sink, { signal, onProgress, ...(external ? { external } : {}) });
    } else {
      const tensors = [...state.tensors].map(([name, tensor]) => ({ name, tensor }));
      if (target === "safetensors") await writeSafetensors(tensors, sink, options);
      else await writePytorch(tensors, sink, { ...options, crc32 });
    }
    for (const one of sinks) await one.close();
  } catch (error) {
    for (const one of sinks) await one.abort();
    throw error;
  }
  const sizes = [path, ...(dataFile ? [dataFile.path] : [])].map(fileSize);
  const sizeBytes = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  return {
    output: { path, sizeBytes },
    arch,
    form,
    seed,
    parameters: countParameters(repVggKeys(arch, form)),
  };
}

function graphOf(
  arch: RepVggArch,
  form: "training" | "deploy",
  state: StateDict,
  { height, width, opset }: CreateFileOptions,
): Model {
  return buildRepVgg(arch, form, state, {
    ...(opset === undefined ? {} : { opset }),
    input: {
      ...(height === undefined ? {} : { height }),
      ...(width === undefined ? {} : { width }),
    },
  });
}

async function fileSize(path: string): Promise<number> {
  const source = await openFile(path);
  await source.close();
  return source.byteLength;
}
