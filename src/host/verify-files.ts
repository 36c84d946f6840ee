/** @file The verdict on two files on disk. */

import type { ReadingOptions } from "../convert/open.ts";
import { ReparamError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { readTensor } from "../core/tensor.ts";
import { readNpy } from "../formats/npy/read-npy.ts";
import type { VerificationResult } from "../report/result.ts";
import { compareGolden } from "../verify/golden.ts";
import type { NoiseFloorOptions, NoisePoint } from "../verify/noise-floor.ts";
import { type Verification, type VerifyOptions, verify } from "../verify/verify.ts";
import { openFile } from "./file-source.ts";
import { type CheckFile, type OpenedModel, openModelPath } from "./open-model.ts";
import { loadNodeRuntime } from "./ort-node.ts";

export interface VerifyFilesOptions
  extends Omit<VerifyOptions, "runtime">,
    ReadingOptions,
    CheckFile {
  /** Compare weights only, without running the nets. Default false. */
  readonly weightsOnly?: boolean | undefined;
  /** An input and the output recorded for it elsewhere. The input is then used for the whole networks, too. */
  readonly golden?: { readonly input: Tensor; readonly expected: Tensor } | undefined;
  /** Also measure the error of both forms after every block. Default false. */
  readonly noiseByDepth?: boolean | undefined;
}

/**
 * Compares the training form at `trainPath` with the deploy form at `deployPath`; `.pth`, `.safetensors` and `.onnx` in
 * any pairing. The nets are run on onnxruntime-node where both are known.
 *
 * `key` names the training file's state dict; the deploy file's is the same one if it has several.
 *
 * @throws what `openModelPath` and `verify` throw
 */
export async function verifyFiles(
  trainPath: string,
  deployPath: string,
  options: VerifyFilesOptions = {},
): Promise<VerificationResult> {
  const { weightsOnly = false, golden, noiseByDepth = false, ...rest } = options;
  const training = await openModelPath(trainPath, options);
  let deploy: OpenedModel | undefined;
  try {
    deploy = await openDeploy(deployPath, options);
    options.check?.(training.file, deploy.file);
    const verification = await verify(training.file, deploy.file, {
      ...rest,
      ...(golden ? { input: golden.input } : {}),
      ...(weightsOnly ? {} : { runtime: loadNodeRuntime }),
    });
    const compared = golden
      ? await compareGolden(training.file, deploy.file, golden, await loadNodeRuntime(), rest)
      : undefined;
    const input = golden?.input ?? rest.input;
    return {
      noise:
        noiseByDepth && !weightsOnly ? await noise(verification, { ...rest, input }) : undefined,
      training: { path: trainPath, sizeBytes: training.sizeBytes() },
      deploy: { path: deployPath, sizeBytes: deploy.sizeBytes() },
      verification,
      golden: compared,
    };
  } finally {
    await training.close();
    await deploy?.close();
  }
}

/** The error of both forms by depth; the runtime is loaded only if both nets are known. */
export async function noise(
  verification: Verification,
  options: Omit<NoiseFloorOptions, "runtime">,
): Promise<NoisePoint[]> {
  if (!verification.whole) return [];
  const { noiseFloor } = await import("../verify/noise-floor.ts");
  return noiseFloor(verification, { ...options, runtime: await loadNodeRuntime() });
}

/** A deploy file is usually one plain state dict, whatever `--key` says about the training file. */
export async function openDeploy(path: string, options: ReadingOptions): Promise<OpenedModel> {
  if (options.key === undefined) return await openModelPath(path, options);
  try {
    return await openModelPath(path, options);
  } catch (error) {
    if (
      !(error instanceof ReparamError && error.tag === "not-found" && /state dict/.test(error.what))
    )
      throw error;
    return await openModelPath(path, { ...options, key: undefined });
  }
}

/** Reads an array of a `.npy` file. @throws not-found, cannot-read, bad-data */
export async function readArray(path: string): Promise<Tensor> {
  const source = await openFile(path);
  try {
    return await readTensor(await readNpy(source));
  } finally {
    await source.close();
  }
}
