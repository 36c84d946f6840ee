/** @file `reparam verify`: the verdict on a training form and a deploy form. */

import type { Command } from "commander";
import { addComparisonOptions, type ComparisonFlags, comparisonOptions } from "./comparison.ts";
import { VERDICT_EXIT_CODES } from "./exit-codes.ts";
import { writeReport } from "./html-report.ts";
import { runCommand } from "./run-command.ts";

export function registerVerify(program: Command): void {
  const command = program
    .command("verify")
    .summary("whether a deploy form is the same function, and how sure that is")
    .description(
      "Compares a training form with a deploy form: every fused weight against the exact one, in" +
        " units of roundings; and the outputs of both nets, in float64 and float32. No tolerance.",
    );
  addComparisonOptions(command)
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  reparam verify train.pth deploy.onnx\n" +
        "  reparam verify train.pth deploy.pth --weights-only\n" +
        "  reparam verify train.onnx deploy.onnx --input 1x3x224x224 --report verdict.html\n" +
        "  reparam verify train.pth deploy.onnx --golden x.npy y.npy",
    )
    .action((train: string, deploy: string, flags: ComparisonFlags) =>
      verify(train, deploy, flags),
    );
}

function verify(train: string, deploy: string, flags: ComparisonFlags): Promise<void> {
  return runCommand(flags, async (context) => {
    const options = await comparisonOptions(flags, context);
    const { verifyFiles } = await import("../host/verify-files.ts");
    const result = await verifyFiles(train, deploy, options);
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
