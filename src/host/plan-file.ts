/** @file What a conversion of a file on disk would do, as data. */

import { knownLayout } from "../convert/known-layout.ts";
import type { OpenOptions } from "../convert/open.ts";
import { planCheckpoint } from "../convert/plan-checkpoint.ts";
import { inFile } from "../core/errors.ts";
import type { PlanResult } from "../report/result.ts";
import { planReparam } from "../rewrite/plan.ts";
import { type CheckFile, openModelPath } from "./open-model.ts";

export interface PlanFileOptions extends OpenOptions, CheckFile {
  /** Also fuse where one convolution costs more. Default false. */
  readonly allowCostlier?: boolean | undefined;
}

/** @throws what `openModelPath`, `planReparam` and `planCheckpoint` throw */
export async function planFile(path: string, options: PlanFileOptions = {}): Promise<PlanResult> {
  const opened = await openModelPath(path, options);
  try {
    options.check?.(opened.file);
    const { file } = opened;
    if (file.kind === "onnx") {
      const { allowCostlier = false, signal, onProgress } = options;
      const plan = await planReparam(file.model, { allowCostlier, signal, onProgress });
      return { kind: "onnx", input: { path, sizeBytes: opened.sizeBytes() }, plan };
    }
    const plan = await planCheckpoint(file);
    const input = { path, sizeBytes: opened.sizeBytes() };
    return { kind: "checkpoint", input, plan, layout: knownLayout(file) };
  } catch (error) {
    throw inFile(path, error);
  } finally {
    await opened.close();
  }
}
