/** @file What a file on disk holds. */

import { type InspectOptions, inspectModel } from "../convert/inspect.ts";
import type { OpenOptions } from "../convert/open.ts";
import { isReparamError } from "../core/errors.ts";
import { readCheckpoint } from "../formats/checkpoint.ts";
import type { InspectionResult } from "../report/result.ts";
import { openFile } from "./file-source.ts";
import { type CheckFile, type OpenedModel, openModelPath } from "./open-model.ts";

export interface InspectFileOptions extends InspectOptions, OpenOptions, CheckFile {}

/**
 * Inspects the checkpoint or model at `path`. Of several state dicts without a `key` the first is shown, and the
 * result lists all of them.
 *
 * @throws what `openModelPath` and `inspectModel` throw
 */
export async function inspectFile(
  path: string,
  options: InspectFileOptions = {},
): Promise<InspectionResult> {
  const opened = await openAny(path, options);
  try {
    options.check?.(opened.file);
    const inspection = await inspectModel(opened.file, options);
    return { input: { path, sizeBytes: opened.sizeBytes() }, inspection };
  } finally {
    await opened.close();
  }
}

async function openAny(path: string, options: InspectFileOptions): Promise<OpenedModel> {
  try {
    return await openModelPath(path, options);
  } catch (error) {
    if (!isReparamError(error, "ambiguous") || options.key !== undefined) throw error;
    const source = await openFile(path);
    try {
      const first = (await readCheckpoint(source, options)).candidates[0];
      if (!first) throw error;
      return await openModelPath(path, { ...options, key: first.path });
    } finally {
      await source.close();
    }
  }
}
