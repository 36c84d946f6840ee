/** @file `reparam inspect`: what is in a file. */

import type { Command } from "commander";
import { fileCheck } from "./assert-useful.ts";
import { addReadingOptions, type ReadingFlags, readingOptions } from "./options.ts";
import { runCommand } from "./run-command.ts";

interface InspectFlags extends ReadingFlags {
  readonly tensors?: boolean;
}

export function registerInspect(program: Command): void {
  const command = program
    .command("inspect")
    .summary("what a file holds: form, family, blocks, every tensor")
    .description(
      "Shows the net as a tree of stages and blocks with their branches. With --tensors also" +
        " every tensor: name, shape, type, mean, deviation, range, and how many NaN it has.",
    )
    .argument("<file>", "checkpoint or ONNX model");
  addReadingOptions(command)
    .option("-t, --tensors", "list every tensor with its numbers (reads the whole file)")
    .addHelpText(
      "after",
      "\nExamples:\n  reparam inspect train.pth\n  reparam inspect train.pth --tensors --key ema",
    )
    .action((file: string, flags: InspectFlags) => inspect(file, flags));
}

function inspect(path: string, flags: InspectFlags): Promise<void> {
  return runCommand(flags, async (context) => {
    const { inspectFile } = await import("../host/inspect-file.ts");
    const result = await inspectFile(path, {
      ...(await readingOptions(flags)),
      check: await fileCheck(flags),
      statistics: flags.tensors,
      signal: context.signal,
      onProgress: context.onProgress,
    });
    if (context.json) {
      context.printJson((await import("../report/inspection-json.ts")).inspectionJson(result));
    } else {
      const { inspectionText } = await import("../report/inspection-text.ts");
      context.print(inspectionText(result, context.style));
    }
    return 0;
  });
}
