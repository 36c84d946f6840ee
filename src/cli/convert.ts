/** @file `reparam convert`: a training form to its deploy form, verified before it has its name. */

import type { Command } from "commander";
import { fileCheck } from "./assert-useful.ts";
import { VERDICT_EXIT_CODES } from "./exit-codes.ts";
import { addReportOption, checkReportName, type ReportFlags, writeReport } from "./html-report.ts";
import {
  addReadingOptions,
  forceOption,
  positiveInteger,
  type ReadingFlags,
  readingOptions,
} from "./options.ts";
import { runCommand } from "./run-command.ts";

interface ConvertFlags extends ReadingFlags, ReportFlags {
  readonly output: string;
  readonly force?: boolean;
  readonly height?: number;
  readonly width?: number;
  readonly opset?: number;
  readonly clean: boolean;
  readonly verify: boolean;
  readonly allowCostlier?: boolean;
}

export function registerConvert(program: Command): void {
  const command = program
    .command("convert")
    .summary("deploy form of a trained checkpoint or ONNX model")
    .description(
      "Fuses every multi-branch block of TRAIN into one convolution and writes the deploy form." +
        " What was written is read back and compared with TRAIN before it gets its name.",
    )
    .argument("<train>", "checkpoint (.pth .pt .ckpt .safetensors) or .onnx model")
    .requiredOption(
      "-o, --output <file>",
      "where to; .pth, .safetensors or .onnx chooses the format",
    )
    .addOption(forceOption());
  addReportOption(addReadingOptions(command))
    .option("--height <n>", "fixed input height of an ONNX output (default: any)", positiveInteger)
    .option("--width <n>", "fixed input width of an ONNX output (default: any)", positiveInteger)
    .option("--opset <n>", "ONNX operator set, 7 to 22 (default: 17)", positiveInteger)
    .option("--no-clean", "leave Identity and Constant nodes of an ONNX model in place")
    .option("--no-verify", "skip the comparison")
    .option("--allow-costlier", "fuse an ONNX region even if one convolution costs more")
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  reparam convert RepVGG-A0-train.pth -o RepVGG-A0.onnx\n" +
        "  reparam convert run42.ckpt -o deploy.pth --key ema --eps 1e-3\n" +
        "  reparam convert train.onnx -o deploy.onnx",
    )
    .action((train: string, flags: ConvertFlags) => convert(train, flags));
}

function convert(train: string, flags: ConvertFlags): Promise<void> {
  return runCommand(flags, async (context) => {
    checkReportName(flags);
    const { convertFile } = await import("../host/convert-file.ts");
    const result = await convertFile(train, flags.output, {
      ...(await readingOptions(flags)),
      check: await fileCheck(flags),
      force: flags.force,
      height: flags.height,
      width: flags.width,
      opset: flags.opset,
      clean: flags.clean,
      verify: flags.verify,
      allowCostlier: flags.allowCostlier,
      runtime: async () => (await import("../host/ort-node.ts")).loadNodeRuntime(),
      signal: context.signal,
      onProgress: context.onProgress,
    });
    await writeReport(flags, () => ({ command: "convert", result }));
    if (context.json) {
      context.printJson((await import("../report/conversion-json.ts")).conversionJson(result));
    } else {
      const { conversionText } = await import("../report/conversion-text.ts");
      context.print(conversionText(result, context.style));
    }
    const word = result.verification?.verdict.word;
    return word === undefined ? 0 : VERDICT_EXIT_CODES[word];
  });
}
