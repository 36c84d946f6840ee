/**
 * @file A conversion from file to file: planned, written under a temporary name, read back and compared with the
 * training form, and only then given its name.
 */

import { crc32 } from "node:zlib";
import {
  type ConversionOptions,
  planConversion,
  type TargetFormat,
  writeConversion,
} from "../convert/conversion.ts";
import { knownLayout } from "../convert/known-layout.ts";
import type { ModelFile, ReadingOptions } from "../convert/open.ts";
import { namingFile } from "../core/errors.ts";
import { phase } from "../core/task.ts";
import type { ConversionResult } from "../report/result.ts";
import type { Runtime } from "../runtime/session.ts";
import { type Verification, verify } from "../verify/verify.ts";
import { assertOtherFile } from "./assert-other-file.ts";
import { type CheckFile, openModelPath } from "./open-model.ts";
import { type PublishOptions, publishModel } from "./publish-model.ts";
import { targetFormat } from "./target-format.ts";
import { verifyWhole } from "./verify-whole.ts";

export interface ConvertFileOptions
  extends ReadingOptions,
    ConversionOptions,
    CheckFile,
    PublishOptions {
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
  await assertOtherFile(trainPath, outPath, "a deploy form cannot be trained further");
  const input = await openModelPath(trainPath, options);
  const { file } = input;
  try {
    options.check?.(file);
    const conversion = await namingFile(trainPath, planConversion(file, target, options));
    const verified = options.verify ?? true;
    const result = await publishModel(
      outPath,
      {
        model: conversion.model,
        write: (sink, external) => {
          const task = { ...phase("writing", options), crc32, external };
          return namingFile(trainPath, writeConversion(conversion, sink, task));
        },
        check: async (open) =>
          verified
            ? await verifyWritten(file, await open(readingOfOutput(file)), options)
            : undefined,
      },
      options,
    );
    return {
      input: { path: trainPath, sizeBytes: input.sizeBytes() },
      conversion,
      layout: file.kind === "checkpoint" ? knownLayout(file) : undefined,
      ...result,
    };
  } finally {
    await input.close();
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
  return await verifyWhole(weights, training, deploy, { ...task, runtime: options.runtime });
}

/** What the user said about the input's blocks holds for the output; a key does not, as it is one state dict. */
function readingOfOutput({ reading }: ModelFile): ReadingOptions {
  return { ...reading, key: undefined };
}
