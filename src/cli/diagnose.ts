/** @file `reparam diagnose`: why a deploy form is not its training form. */

import type { Command } from "commander";
import { VERDICT_EXIT_CODES } from "./exit-codes.ts";
import { addReportOption, checkReportName, writeReport } from "./html-report.ts";

import {
  addReadingOptions,
  anyInteger,
  archCheck,
  positiveInteger,
  readingOptions,
} from "./options.ts";
import { runCommand } from "./run-command.ts";
import { inputOptions, type VerifyFlags } from "./verify.ts";

export function registerDiagnose(program: Command): void {
  const command = program
    .command("diagnose")
    .summary("why a deploy form is not the same function: the blocks and the cause")
    .description(
      "Verifies, then explains every difference: the block, the cause, how it is known, what it" +
        " does at the output, and what to do. A cause is called proved when the exact fuse with" +
        " that fault in it gives the deploy weights.",
    )
    .argument("<train>", "training form: .pth, .safetensors or .onnx")
    .argument("<deploy>", "what is deployed: .pth, .safetensors or .onnx");
  addReportOption(addReadingOptions(command))
    .option("--input <shape|file>", "input for the nets: 1x3x224x224 (generated) or x.npy")
    .option("--golden <files...>", "X.npy Y.npy: an input and the output recorded for it")
    .option("--images <folder>", "real images as input (ImageNet normalisation; size from --input)")
    .option("--weights-only", "look at weights alone; the nets are not run")
    .option(
      "--replicas <n>",
      "runs that measure the noise of rounding (default: 19)",
      positiveInteger,
    )
    .option("--seed <n>", "of the generated input (default: 1)", anyInteger)
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  reparam diagnose train.pth deploy.pth\n" +
        "  reparam diagnose train.pth deploy.onnx --weights-only\n" +
        "  reparam diagnose train.pth deploy.onnx --golden x.npy y.npy",
    )
    .action((train: string, deploy: string, flags: VerifyFlags) =>
      diagnoseCommand(train, deploy, flags),
    );
}

function diagnoseCommand(train: string, deploy: string, flags: VerifyFlags): Promise<void> {
  return runCommand(flags, async (context) => {
    checkReportName(flags);
    const { diagnoseFiles } = await import("../host/diagnose-files.ts");
    const result = await diagnoseFiles(train, deploy, {
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
    await writeReport(flags, async () => {
      const { CAUSES } = await import("../diagnose/causes.ts");
      const { training, deploy, diagnosis, noise } = result;
      const { verification, findings } = diagnosis;
      return {
        command: "diagnose",
        result: { training, deploy, verification, findings },
        causes: CAUSES,
        ...(noise ? { noise } : {}),
      };
    });
    if (context.json) {
      const { diagnosisJson } = await import("../report/diagnosis-json.ts");
      context.printJson(diagnosisJson(result));
    } else {
      const { diagnosisText } = await import("../report/diagnosis-text.ts");
      const { CAUSES } = await import("../diagnose/causes.ts");
      context.print(diagnosisText(result, CAUSES, context.style));
    }
    return VERDICT_EXIT_CODES[result.diagnosis.verification.verdict.word];
  });
}
