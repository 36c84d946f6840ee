/** @file `reparam plan`: what would be fused, what would not, and why. */

import type { Command } from "commander";
import { fileCheck } from "./assert-useful.ts";
import { addReadingOptions, type ReadingFlags, readingOptions } from "./options.ts";
import { runCommand } from "./run-command.ts";

interface PlanFlags extends ReadingFlags {
  readonly allowCostlier?: boolean;
}

export function registerPlan(program: Command): void {
  const command = program
    .command("plan")
    .summary("what would be fused, what is refused and why")
    .description("Plans a conversion without doing it: regions, cost before and after, refusals.")
    .argument("<model>", "ONNX model or checkpoint");
  addReadingOptions(command)
    .option("--allow-costlier", "also fuse where one convolution costs more")
    .addHelpText(
      "after",
      "\nExamples:\n  reparam plan train.onnx\n  reparam plan train.onnx --json",
    )
    .action((model: string, flags: PlanFlags) => plan(model, flags));
}

function plan(path: string, flags: PlanFlags): Promise<void> {
  return runCommand(flags, async (context) => {
    const { planFile } = await import("../host/plan-file.ts");
    const result = await planFile(path, {
      ...(await readingOptions(flags)),
      check: await fileCheck(flags),
      allowCostlier: flags.allowCostlier ?? false,
      signal: context.signal,
      onProgress: context.onProgress,
    });
    if (context.json) context.printJson((await import("../report/plan-json.ts")).planJson(result));
    else context.print((await import("../report/plan-text.ts")).planText(result, context.style));
    return 0;
  });
}
