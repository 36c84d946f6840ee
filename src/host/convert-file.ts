/**
 * @file A conversion from file to file: planned, written under a temporary name, read back and compared with the
 * training form, and only then given its name.
 */

import { realpath } from "node:fs/promises";
import { crc32 } from "node:zlib";
import {
  type Conversion,
  type ConversionOptions,
  planConversion,
  type TargetFormat,
  writeConversion,
} from "../convert/conversion.ts";
import { knownLayout } from "../convert/known-layout.ts";
import { type ModelFile, openModelFile, type ReadingOptions } from "../convert/open.ts";
import { inFile, ReparamError, throwIfAborted } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import type { ConversionResult } from "../report/result.ts";
import type { Runtime } from "../runtime/session.ts";
import { type Verification, verify } from "../verify/verify.ts";
import { dataFileOf, needsDataFile } from "./data-file.ts";
import { createFileSink, type FileSink } from "./file-sink.ts";
import { type CheckFile, type OpenedModel, openModelPath } from "./open-model.ts";
import { targetFormat } from "./target-format.ts";

export interface ConvertFileOptions extends ReadingOptions, ConversionOptions, CheckFile {
  /** Overwrite an existing output. Default false. */
  readonly force?: boolean | undefined;
  /** Compare what was written with the training form before it gets its name. Default true. */
  readonly verify?: boolean | undefined;
  /** The output's format. Default: its ending's. */
  readonly target?: TargetFormat | undefined;
  /** Asked for where the weights alone leave the verdict open. Default: it stays open. */
  readonly runtime?: (() => Promise<Runtime>) | undefined;
}

/**
 * Converts the training form at `trainPath` to its deploy form at `outPath`, and verifies the bytes that were written.
 * With the verdict `DIFFERENT` nothing is left behind and `published` is false; ONNX weights above 2 GiB go to
 * `<outPath>.data`.
 *
 * @throws usage (the output is the input, unknown ending), cannot-write (exists without `force`, disk full …), what
 * `openModelFile`, `planConversion` and `writeConversion` throw; aborted
 */
export async function convertFile(
  trainPath: string,
  outPath: string,
  options: ConvertFileOptions = {},
): Promise<ConversionResult> {
  const target = options.target ?? targetFormat(outPath);
  await assertOtherFile(trainPath, outPath);
  const input = await openModelPath(trainPath, options);
  try {
    options.check?.(input.file);
    const conversion = await planConversion(input.file, target, options);
    return await writeAndVerify(input, conversion, outPath, options);
  } catch (error) {
    throw inFile(trainPath, error);
  } finally {
    await input.close();
  }
}

async function writeAndVerify(
  input: OpenedModel,
  conversion: Conversion,
  outPath: string,
  options: ConvertFileOptions,
): Promise<ConversionResult> {
  const force = options.force ?? false;
  const sinks: FileSink[] = [];
  const open = async (path: string): Promise<FileSink> => {
    const sink = await createFileSink(path, { force });
    sinks.push(sink);
    return sink;
  };
  try {
    // Data first: whoever sees the model finds its data.
    const { path: dataPath, location } = dataFileOf(outPath);
    const large = conversion.model !== undefined && needsDataFile(conversion.model);
    const data = large ? await open(dataPath) : undefined;
    const sink = await open(outPath);
    const written = await writeConversion(conversion, sink, {
      ...phase("writing", options),
      crc32,
      ...(data ? { external: { location, sink: data } } : {}),
    });
    const source = await sink.reopen();
    const dataSource = await data?.reopen();
    const sizeBytes = source.byteLength + (dataSource?.byteLength ?? 0);
    const verification =
      (options.verify ?? true)
        ? await verifyWritten(
            input.file,
            await openModelFile(source, {
              ...readingOfOutput(input.file),
              ...(dataSource ? { external: { open: async () => dataSource } } : {}),
            }),
            options,
          )
        : undefined;
    throwIfAborted(options.signal);
    const published = verification?.verdict.word !== "DIFFERENT";
    for (const one of sinks) await (published ? one.close() : one.abort());
    return {
      input: { path: input.path, sizeBytes: input.sizeBytes() },
      output: { path: outPath, sizeBytes },
      conversion,
      layout: input.file.kind === "checkpoint" ? knownLayout(input.file) : undefined,
      written,
      verification,
      published,
    };
  } catch (error) {
    for (const sink of sinks) await sink.abort();
    throw error;
  }
}

/** Weights first, which needs no runtime; the whole networks only where that leaves the verdict open. */
async function verifyWritten(
  training: ModelFile,
  deploy: ModelFile,
  options: ConvertFileOptions,
): Promise<Verification> {
  const task = phase("checking", options);
  const weights = await verify(training, deploy, task);
  if (weights.verdict.word !== "UNDECIDED" || !options.runtime) return weights;
  return await verify(training, deploy, { ...task, runtime: options.runtime });
}

/** What the user said about the input's blocks holds for the output; a key does not, as it is one state dict. */
function readingOfOutput({ reading }: ModelFile): ReadingOptions {
  return { ...reading, key: undefined };
}

function phase(name: string, { onProgress, signal }: TaskOptions): TaskOptions {
  if (!onProgress) return { signal };
  return {
    signal,
    onProgress: (progress) => onProgress({ ...progress, label: `${name} ${progress.label}` }),
  };
}

async function assertOtherFile(input: string, output: string): Promise<void> {
  const resolved = (path: string): Promise<string | undefined> =>
    realpath(path).catch(() => undefined);
  const [from, to] = [await resolved(input), await resolved(output)];
  if (from === undefined || from !== to) return;
  throw new ReparamError("usage", {
    where: output,
    what: "the output is the input file itself",
    fix: "Choose another name: a deploy form cannot be trained further",
  });
}
