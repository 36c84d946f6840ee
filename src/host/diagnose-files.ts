/** @file The diagnosis of two files on disk. */

import type { ReadingOptions } from "../convert/open.ts";
import { type DiagnoseOptions, diagnose } from "../diagnose/diagnose.ts";
import type { DiagnosisResult } from "../report/diagnosis-json.ts";
import { type CheckFile, type OpenedModel, openModelPath } from "./open-model.ts";
import { loadNodeRuntime } from "./ort-node.ts";
import { noise, openDeploy } from "./verify-files.ts";

export interface DiagnoseFilesOptions
  extends Omit<DiagnoseOptions, "runtime">,
    ReadingOptions,
    CheckFile {
  /** Look at weights only, without running the nets. Default false. */
  readonly weightsOnly?: boolean | undefined;
  /** Also measure the error of both forms after every block. Default false. */
  readonly noiseByDepth?: boolean | undefined;
}

/**
 * Explains why the deploy form at `deployPath` is not the training form at `trainPath`, if it is not; `.pth`,
 * `.safetensors` and `.onnx` in any pairing.
 *
 * @throws what `openModelPath` and `diagnose` throw
 */
export async function diagnoseFiles(
  trainPath: string,
  deployPath: string,
  options: DiagnoseFilesOptions = {},
): Promise<DiagnosisResult> {
  const { weightsOnly = false, noiseByDepth = false, ...rest } = options;
  const training = await openModelPath(trainPath, options);
  let deploy: OpenedModel | undefined;
  try {
    deploy = await openDeploy(deployPath, options);
    options.check?.(training.file, deploy.file);
    const diagnosis = await diagnose(training.file, deploy.file, {
      ...rest,
      ...(weightsOnly ? {} : { runtime: loadNodeRuntime }),
    });
    return {
      training: { path: trainPath, sizeBytes: training.sizeBytes() },
      deploy: { path: deployPath, sizeBytes: deploy.sizeBytes() },
      diagnosis,
      noise: noiseByDepth && !weightsOnly ? await noise(diagnosis.verification, rest) : undefined,
    };
  } finally {
    await training.close();
    await deploy?.close();
  }
}
