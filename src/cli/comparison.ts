/** @file What `verify` and `diagnose` have in common: two files, how they are read, and what the nets are run on. */

import type { Command } from "commander";
import { ReparamError } from "../core/errors.ts";
import type { VerifyFilesOptions } from "../host/verify-files.ts";
import { assertUsefulTogether, pairCheck, type RunFlags } from "./assert-useful.ts";
import { addReportOption, checkReportName, type ReportFlags } from "./html-report.ts";
import {
  addReadingOptions,
  anyInteger,
  parseShape,
  positiveInteger,
  type ReadingFlags,
  readingOptions,
} from "./options.ts";
import type { CommandContext } from "./run-command.ts";

export interface ComparisonFlags extends ReadingFlags, ReportFlags, RunFlags {}

/** The arguments `<train> <deploy>` and the options of `ComparisonFlags`. */
export function addComparisonOptions(command: Command): Command {
  command
    .argument("<train>", "training form: .pth, .safetensors or .onnx")
    .argument("<deploy>", "deploy form: .pth, .safetensors or .onnx");
  return addReportOption(addReadingOptions(command))
    .option("--input <shape|file>", "input for the nets: 1x3x224x224 (generated) or x.npy")
    .option("--golden <files...>", "X.npy Y.npy: an input and the output recorded for it")
    .option("--images <folder>", "real images as input (ImageNet normalisation; size from --input)")
    .option("--weights-only", "compare weights alone; the nets are not run")
    .option(
      "--replicas <n>",
      "runs that measure the noise of rounding (default: 19)",
      positiveInteger,
    )
    .option("--seed <n>", "of the generated input (default: 1)", anyInteger);
}

/** The library's options from the command line's. Reads recipes, arrays and images. @throws usage, not-found, cannot-read, bad-data */
export async function comparisonOptions(
  flags: ComparisonFlags,
  { signal, onProgress }: CommandContext,
): Promise<VerifyFilesOptions> {
  checkReportName(flags);
  assertUsefulTogether(flags);
  return {
    ...(await readingOptions(flags)),
    ...(await inputOptions(flags)),
    check: await pairCheck(flags),
    weightsOnly: flags.weightsOnly,
    noiseByDepth: flags.report !== undefined,
    replicas: flags.replicas,
    seed: flags.seed,
    signal,
    onProgress,
  };
}

/** `--input`, `--images` and `--golden` as arrays. */
async function inputOptions(
  flags: ComparisonFlags,
): Promise<Pick<VerifyFilesOptions, "golden" | "input" | "inputShape">> {
  const { golden, images, input } = flags;
  const { readArray } = await import("../host/verify-files.ts");
  if (golden) {
    const [x, y, ...more] = golden;
    if (x === undefined || y === undefined || more.length > 0) {
      throw new ReparamError("usage", {
        where: "--golden",
        what: `${golden.length} files, expected two: an input and the output recorded for it`,
        fix: "For example --golden x.npy y.npy",
      });
    }
    return { golden: { input: await readArray(x), expected: await readArray(y) } };
  }
  const inputShape = input === undefined ? undefined : parseShape(input);
  if (images !== undefined) {
    if (input !== undefined && !inputShape) {
      throw noInput(
        input,
        "a shape such as 1x3x224x224: the images' number and size, for --images",
      );
    }
    const { readImageBatch } = await import("../host/image-batch.ts");
    const [count, , height, width] = inputShape ?? [];
    return { input: await readImageBatch(images, { count, height, width }) };
  }
  if (input === undefined) return {};
  if (inputShape) return { inputShape };
  if (input.toLowerCase().endsWith(".npy")) return { input: await readArray(input) };
  throw noInput(input, "a shape such as 1x3x224x224 or a .npy file");
}

function noInput(input: string, expected: string): ReparamError {
  return new ReparamError("usage", {
    where: "--input",
    what: `${JSON.stringify(input)}, expected ${expected}`,
  });
}
