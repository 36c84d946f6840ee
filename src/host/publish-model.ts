/**
 * @file The way of every model that is written: under a temporary name, read back as it stands on the disk, checked,
 * and only then given its name. ONNX weights that do not fit into the model's file go to a second one beside it.
 */

import { type ModelFile, openModelFile, type ReadingOptions } from "../convert/open.ts";
import type { ByteSink } from "../core/byte-sink.ts";
import { throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import type { ExternalOutput } from "../formats/onnx/write-model.ts";
import type { Model } from "../ir/graph.ts";
import type { Verification } from "../verify/verify.ts";
import { dataFileOf, needsDataFile } from "./data-file.ts";
import { createFileSink, type FileSink } from "./file-sink.ts";

export interface PublishOptions extends Pick<TaskOptions, "signal"> {
  /** Overwrite an existing output. Default false. */
  readonly force?: boolean | undefined;
  /** ONNX weights of more bytes than this go to `<path>.data`. Default and most: what fits into 2 GiB. */
  readonly maxInlineBytes?: number | undefined;
}

/** What is written and how it is judged. */
export interface Publication<W> {
  /** The model that is written; undefined for a checkpoint. */
  readonly model: Model | undefined;
  write(sink: ByteSink, external: ExternalOutput | undefined): Promise<W>;
  /** Looks at what was written, which `open` reads back. With the verdict `DIFFERENT` nothing is left behind. */
  check?(
    open: (reading: ReadingOptions) => Promise<ModelFile>,
  ): Promise<Verification | undefined> | undefined;
}

export interface Published<W> {
  readonly output: { readonly path: string; readonly sizeBytes: number };
  readonly written: W;
  readonly verification: Verification | undefined;
  /** False with the verdict `DIFFERENT`. */
  readonly published: boolean;
}

/** @throws cannot-write (exists without `force`, disk full …), aborted, and what `write` and `check` throw */
export async function publishModel<W>(
  path: string,
  { model, write, check }: Publication<W>,
  { force = false, maxInlineBytes, signal }: PublishOptions,
): Promise<Published<W>> {
  const sinks: FileSink[] = [];
  const open = async (at: string): Promise<FileSink> => {
    const sink = await createFileSink(at, { force });
    sinks.push(sink);
    return sink;
  };
  try {
    // Data first: whoever sees the model finds its data.
    const { path: dataPath, location } = dataFileOf(path);
    const large = model !== undefined && needsDataFile(model, maxInlineBytes);
    const data = large ? await open(dataPath) : undefined;
    const sink = await open(path);
    const written = await write(sink, data && { location, sink: data });
    const source = await sink.reopen();
    const dataSource = await data?.reopen();
    const external = dataSource && { open: async () => dataSource };
    const verification = await check?.((reading) =>
      openModelFile(source, { ...reading, ...(external ? { external } : {}) }),
    );
    throwIfAborted(signal);
    const published = verification?.verdict.word !== "DIFFERENT";
    const sizeBytes = source.byteLength + (dataSource?.byteLength ?? 0);
    if (published) for (const one of sinks) await one.settle();
    for (const one of sinks) await (published ? one.close() : one.abort());
    return { output: { path, sizeBytes }, written, verification, published };
  } catch (error) {
    for (const sink of sinks) await sink.abort();
    throw error;
  }
}
