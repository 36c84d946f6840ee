/**
 * @file Insertion from file to file: planned, written under a temporary name, read back and compared with the original,
 * and only then given its name.
 */

import type { PlainNetOptions } from "../convert/checkpoint-convs.ts";
import type { TargetFormat } from "../convert/conversion.ts";
import type { ModelFile, ReadingOptions } from "../convert/open.ts";
import { namingFile, ReparamError } from "../core/errors.ts";
import { phase, type TaskOptions } from "../core/task.ts";
import type { Shape, Tensor } from "../core/tensor.ts";
import type { InsertionResult } from "../report/insertion-result.ts";
import type { LeftAlone } from "../rewrite/insert/find-convs.ts";
import type { InsertionOptions } from "../rewrite/insert/plan-insertion.ts";
import type { Runtime } from "../runtime/session.ts";
import { type Verification, verify } from "../verify/verify.ts";
import { assertOtherFile } from "./assert-other-file.ts";
import { checkpointJob, type InsertionJob, modelJob } from "./insertion-job.ts";
import { openModelPath } from "./open-model.ts";
import { type PublishOptions, publishModel } from "./publish-model.ts";
import { targetFormat } from "./target-format.ts";
import { verifyWhole } from "./verify-whole.ts";
import { modelOf, writeContent } from "./write-content.ts";

export interface InsertFileOptions
  extends InsertionOptions,
    PlainNetOptions,
    ReadingOptions,
    PublishOptions,
    TaskOptions {
  /** Runs ONNX models for calibration and for the whole network's certificate. Default: neither. */
  readonly runtime?: (() => Promise<Runtime>) | undefined;
  /** Values of the first input, a batch as the net was trained on; gives the batch norms their statistics. ONNX only. */
  readonly calibration?: Tensor | undefined;
  /** `whole` (default): also run original and result, where there is a runtime and a graph. */
  readonly check?: "weights" | "whole" | undefined;
  /** Shape of the first input for the whole network's certificate, where the model leaves it open. */
  readonly inputShape?: Shape | undefined;
}

/**
 * Replicas of certificate C. The weights are proved already; this looks for graphs that differ, which shows far above
 * any noise, and fewer replicas only make it stricter.
 */
const REPLICAS = 5;

/**
 * Puts blocks into the model or checkpoint at `path` and verifies the bytes that were written. With the verdict
 * `DIFFERENT` nothing is left behind and `published` is false. ONNX weights above 2 GiB go to `<outPath>.data`.
 *
 * @throws usage (the output is the input, unknown or other ending, options), refused (no block fits anywhere),
 * cannot-write, what opening a file throws; aborted
 */
export async function insertFile(
  path: string,
  outPath: string,
  options: InsertFileOptions = {},
): Promise<InsertionResult> {
  const target = targetFormat(outPath);
  await assertOtherFile(path, outPath, "the plain net is what the blocks are checked against");
  const input = await openModelPath(path, options);
  try {
    const { file } = input;
    const job = await namingFile(path, planJob(file, outPath, target, options));
    if (job.blocks.length === 0) throw nothingFits(path, job.leftAlone);
    const { settings, content, blocks, leftAlone, assumptions, family, parameters } = job;
    const { output, verification, published } = await publishModel(
      outPath,
      {
        model: modelOf(content),
        write: (sink, external) => writeContent(content, sink, external, phase("writing", options)),
        check: async (open) =>
          settings.fresh
            ? undefined
            : await verifyInserted(await open(job.reading), originalOf(file, job), options),
      },
      options,
    );
    return {
      input: { path, sizeBytes: input.sizeBytes() },
      kind: file.kind,
      ...{ block: settings.block, fresh: settings.fresh, seed: settings.seed },
      calibrated: options.calibration !== undefined && settings.fresh === undefined,
      ...{ blocks, leftAlone, assumptions, family, parameters },
      ...{ output, verification, published },
    };
  } finally {
    await input.close();
  }
}

async function planJob(
  file: ModelFile,
  outPath: string,
  target: TargetFormat,
  options: InsertFileOptions,
): Promise<InsertionJob> {
  if (file.kind === "onnx" && target === "onnx") return await modelJob(file, options);
  if (file.kind === "checkpoint" && target !== "onnx") return checkpointJob(file, target, options);
  const [found, ending] =
    file.kind === "onnx" ? ["an ONNX model", ".onnx"] : ["a checkpoint", ".pth or .safetensors"];
  throw new ReparamError("usage", {
    where: outPath,
    what: `the input is ${found} and the output is not`,
    fix: `Give an output that ends in ${ending}`,
  });
}

/** The input as what the inserted file has to fuse to: a checkpoint's batch norms folded, in float64. */
function originalOf(file: ModelFile, { original, reading }: InsertionJob): ModelFile {
  if (file.kind === "onnx" || !original) return file;
  return { ...file, state: original, reading };
}

/** Weights first, which prove it; then the whole networks, as far as they can be run. */
async function verifyInserted(
  inserted: ModelFile,
  original: ModelFile,
  options: InsertFileOptions,
): Promise<Verification> {
  const { runtime, inputShape } = options;
  const task = phase("checking", options);
  const weights = await verify(inserted, original, task);
  const run = options.check !== "weights" && weights.verdict.word !== "DIFFERENT";
  if (!run || !runtime || inserted.kind !== "onnx") return weights;
  const running = { ...task, runtime, inputShape, replicas: REPLICAS };
  return await verifyWhole(weights, inserted, original, running);
}

function nothingFits(path: string, leftAlone: readonly LeftAlone[]): ReparamError {
  const reasons = leftAlone.slice(0, 3).map(({ name, reason }) => `${name}: ${reason}`);
  const more = leftAlone.length > 3 ? `; and ${leftAlone.length - 3} more` : "";
  return new ReparamError("refused", {
    where: path,
    what:
      leftAlone.length === 0
        ? "no convolution with more than one tap fits the pattern, so no block can be put in"
        : `no convolution can become a block (${reasons.join("; ")}${more})`,
    fix: "reparam inspect lists the names that --match looks at",
  });
}
