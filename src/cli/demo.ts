/** @file `reparam demo`: the main job from start to finish on one checkpoint, in a folder that is removed again. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import type { VerificationResult } from "../report/result.ts";
import { VERDICT_EXIT_CODES } from "./exit-codes.ts";
import { jsonOption, parseShape } from "./options.ts";
import { type CommandContext, runCommand } from "./run-command.ts";

export function registerDemo(program: Command): void {
  program
    .command("demo")
    .summary("inspect, convert and verify one checkpoint, leaving nothing behind")
    .description(
      "Shows the main job on CHECKPOINT: what it holds, three conversions, their verdicts.",
    )
    .argument("<checkpoint>", "a training form, e.g. examples/data/repvgg-mnist.pth")
    .option("--input <shape>", "input to run both forms on, e.g. 4x1x28x28", shapeOption)
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  reparam demo examples/data/repvgg-mnist.pth")
    .action((path: string, flags: DemoFlags) => demo(path, flags));
}

const ENDINGS = ["onnx", "pth", "safetensors"] as const;

interface DemoFlags {
  readonly input?: readonly number[];
  readonly json?: boolean;
}

function shapeOption(text: string): readonly number[] {
  const shape = parseShape(text);
  if (shape) return shape;
  throw new InvalidArgumentError("Expected a shape such as 1x3x224x224.");
}

function demo(path: string, flags: DemoFlags): Promise<void> {
  return runCommand(flags, async (context) => {
    const folder = await mkdtemp(join(tmpdir(), "reparam-demo-"));
    try {
      return await runDemo(path, folder, context, flags.input);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

async function runDemo(
  path: string,
  folder: string,
  context: CommandContext,
  inputShape: readonly number[] | undefined,
): Promise<number> {
  const { style, print } = context;
  const task = { signal: context.signal, onProgress: context.onProgress };
  const name = basename(path).replace(/\.[^.]*$/, "");
  const { inspectFile } = await import("../host/inspect-file.ts");
  const { inspectionText } = await import("../report/inspection-text.ts");
  const shown = basename(path);
  const inspected = await inspectFile(path, task);
  print([
    style.dim(`$ reparam inspect ${shown}`),
    "",
    ...inspectionText({ ...inspected, input: { ...inspected.input, path: shown } }, style),
  ]);

  const { convertFile } = await import("../host/convert-file.ts");
  const { conversionText } = await import("../report/conversion-text.ts");
  const { verifyFiles } = await import("../host/verify-files.ts");
  const { verificationText } = await import("../report/verification-text.ts");
  const results: VerificationResult[] = [];
  for (const ending of ENDINGS) {
    const output = `${name}-deploy.${ending}`;
    const converted = await convertFile(path, join(folder, output), task);
    if (ending === "onnx") {
      const { input, output: written } = converted;
      const named = {
        ...converted,
        input: { ...input, path: shown },
        output: { ...written, path: output },
      };
      print(["", "", style.dim(`$ reparam convert ${shown} -o ${output}`), ""]);
      print(conversionText(named, style));
    }
    const result = await verifyFiles(path, join(folder, output), { ...task, inputShape });
    results.push({
      ...result,
      training: { ...result.training, path: shown },
      deploy: { ...result.deploy, path: output },
    });
  }
  const [first] = results;
  const input = inputShape ? ` --input ${inputShape.join("x")}` : "";
  print(["", "", style.dim(`$ reparam verify ${shown} ${first?.deploy.path}${input}`), ""]);
  if (first) print(verificationText(first, style));
  print(["", "", ...(await summaryLines(results, context))]);
  if (context.json) {
    const { verificationJson } = await import("../report/verification-json.ts");
    context.printJson({ schema: "reparam.demo/1", verifications: results.map(verificationJson) });
  }
  return Math.max(...results.map((r) => VERDICT_EXIT_CODES[r.verification.verdict.word]));
}

async function summaryLines(
  results: readonly VerificationResult[],
  { style }: CommandContext,
): Promise<string[]> {
  const { alignColumns, formatBytes } = await import("../report/format.ts");
  const { formatVerdictWord } = await import("../report/verdict-text.ts");
  const rows = results.map(({ deploy, verification }) => [
    `  ${deploy.path}`,
    formatBytes(deploy.sizeBytes),
    formatVerdictWord(verification.verdict),
  ]);
  return [
    style.bold("All three formats"),
    ...alignColumns(rows, "lr"),
    "",
    "Now with your own file:  npx reparam convert my.pth -o my.onnx",
    style.dim("The demo's files were written to a temporary folder and are removed again."),
  ];
}
