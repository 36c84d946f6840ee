/** @file `reparam diagnose`: why a deploy form is not its training form. */

import type { Command } from "commander";
import { addComparisonOptions, type ComparisonFlags, comparisonOptions } from "./comparison.ts";
import { VERDICT_EXIT_CODES } from "./exit-codes.ts";
import { writeReport } from "./html-report.ts";
import { runCommand } from "./run-command.ts";

export function registerDiagnose(program: Command): void {
  const command = program
    .command("diagnose")
    .summary("why a deploy form is not the same function: the blocks and the cause")
    .description(
      "Verifies, then explains every difference: the block, the cause, how it is known, what it" +
        " does at the output, and what to do. A cause is called proved when the exact fuse with" +
        " that fault in it gives the deploy weights.",
    );
  addComparisonOptions(command)
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  reparam diagnose train.pth deploy.pth\n" +
        "  reparam diagnose train.pth deploy.onnx --weights-only\n" +
        "  reparam diagnose train.pth deploy.onnx --golden x.npy y.npy",
    )
    .action((train: string, deploy: string, flags: ComparisonFlags) =>
      diagnoseCommand(train, deploy, flags),
    );
}

function diagnoseCommand(train: string, deploy: string, flags: ComparisonFlags): Promise<void> {
  return runCommand(flags, async (context) => {
    const options = await comparisonOptions(flags, context);
    const { diagnoseFiles } = await import("../host/diagnose-files.ts");
    const result = await diagnoseFiles(train, deploy, options);
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
