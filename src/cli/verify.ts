/** @file `reparam verify`: the verdict on a training form and a deploy form. */

import type { Command } from "commander";
import { ReparamError } from "../core/errors.ts";
import type { VerifyFilesOptions } from "../host/verify-files.ts";
import { VERDICT_EXIT_CODES } from "./exit-codes.ts";
import { addReportOption, checkReportName, type ReportFlags, writeReport } from "./html-report.ts";
import {
  addReadingOptions,
  anyInteger,
  archCheck,
  parseShape,
  positiveInteger,
  type ReadingFlags,
  readingOptions,
} from "./options.ts";
import { runCommand } from "./run-command.ts";

export interface VerifyFlags extends ReadingFlags, ReportFlags {
  readonly input?: string;
  readonly golden?: readonly string[];
  readonly images?: string;
  readonly weightsOnly?: boolean;
  readonly replicas?: number;
  readonly seed?: number;
}

export function registerVerify(program: Command): void {
  const command = program
    .command("verify")
    .summary("whether a deploy form is the same function, and how sure that is")
    .description(
      "Compares a training form with a deploy form: every fused weight against the exact one, in" +
        " units of roundings; and the outputs of both nets, in float64 and float32. No tolerance.",
    )
    .argument("<train>", "training form: .pth, .safetensors or .onnx")
    .argument("<deploy>", "deploy form: .pth, .safetensors or .onnx");
  addReportOption(addReadingOptions(command))
    .option("--input <shape|file>", "input for the nets: 1x3x224x224 (generated) or x.npy")
    .option("--golden <files...>", "X.npy Y.npy: an input and the output recorded for it")
    .option("--images <folder>", "real images as input (ImageNet normalisation; size from --input)")
    .option("--weights-only", "compare weights alone; the nets are not run")
    .option(
      "--replicas <n>",
      "runs that measure the noise of rounding (default: 19)",
      positiveInteger,
    )
    .option("--seed <n>", "of the generated input (default: 1)", anyInteger)
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  reparam verify train.pth deploy.onnx\n" +
        "  reparam verify train.pth deploy.pth --weights-only\n" +
        "  reparam verify train.onnx deploy.onnx --input 1x3x224x224 --report verdict.html\n" +
        "  reparam verify train.pth deploy.onnx --golden x.npy y.npy",
    )
    .action((train: string, deploy: string, flags: VerifyFlags) => verify(train, deploy, flags));
}

function verify(train: string, deploy: string, flags: VerifyFlags): Promise<void> {
  return runCommand(flags, async (context) => {
    checkReportName(flags);
    const { verifyFiles } = await import("../host/verify-files.ts");
    const result = await verifyFiles(train, deploy, {
      ...(await readingOptions(flags)),
      ...(await inputOptions(flags)),
      check: await archCheck(flags.arch),
      weightsOnly: flags.weightsOnly,
      noiseByDepth: flags.report !== undefined,
      replicas: flags.replicas,
      seed: flags.seed,
      signal: context.signal,
      onProgress: context.onProgress,
    });
    await writeReport(flags, () => ({
      command: "verify",
      result,
      ...(result.noise ? { noise: result.noise } : {}),
    }));
    if (context.json) {
      const { verificationJson } = await import("../report/verification-json.ts");
      context.printJson(verificationJson(result));
    } else {
      const { verificationText } = await import("../report/verification-text.ts");
      context.print(verificationText(result, context.style));
    }
    return VERDICT_EXIT_CODES[result.verification.verdict.word];
  });
}

/** `--input`, `--images` and `--golden` as arrays. */
export async function inputOptions(flags: VerifyFlags): Promise<VerifyFilesOptions> {
  const { readArray } = await import("../host/verify-files.ts");
  if (flags.golden) {
    const [x, y, ...more] = flags.golden;
    if (x === undefined || y === undefined || more.length > 0) {
      throw new ReparamError("usage", {
        where: "--golden",
        what: `${flags.golden.length} files, expected two: an input and the output recorded for it`,
        fix: "For example --golden x.npy y.npy",
      });
    }
    return { golden: { input: await readArray(x), expected: await readArray(y) } };
  }
  const inputShape = flags.input === undefined ? undefined : parseShape(flags.input);
  if (flags.images !== undefined) {
    const { readImageBatch } = await import("../host/image-batch.ts");
    const [count, , height, width] = inputShape ?? [];
    return { input: await readImageBatch(flags.images, { count, height, width }) };
  }
  if (flags.input === undefined) return {};
  if (inputShape) return { inputShape };
  if (flags.input.toLowerCase().endsWith(".npy")) return { input: await readArray(flags.input) };
  throw new ReparamError("usage", {
    where: "--input",
    what: `${JSON.stringify(flags.input)}, expected a shape such as 1x3x224x224 or a .npy file`,
  });
}
