/** @file `reparam create`: a RepVGG with seeded weights. */

import { Argument, type Command, Option } from "commander";
import { ReparamError } from "../core/errors.ts";
import type { CreateRepVggOptions, RepVggArch } from "../zoo/nets/index.ts";
import {
  addCustomNetOptions,
  type CustomNetFlags,
  customRepVgg,
  refuseCustomNet,
} from "./custom-net.ts";
import { anyInteger, forceOption, jsonOption, positiveInteger } from "./options.ts";
import { runCommand } from "./run-command.ts";

interface CreateFlags extends CustomNetFlags {
  readonly output: string;
  readonly form: "training" | "deploy";
  readonly seed: number;
  readonly statistics: NonNullable<CreateRepVggOptions["statistics"]>;
  readonly classes?: number;
  readonly inChannels?: number;
  readonly height?: number;
  readonly width?: number;
  readonly opset?: number;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function registerCreate(program: Command): void {
  const command = program
    .command("create")
    .summary("a RepVGG, named or custom, with seeded weights")
    .description(
      "Writes a RepVGG with random weights: the same seed gives the same bytes everywhere.",
    )
    .addArgument(
      new Argument("[arch]", "RepVGG-A0 … RepVGG-D2se, RepVGGplus-L2pse; none with --blocks"),
    )
    .requiredOption("-o, --output <file>", "where to: .pth, .safetensors or .onnx")
    .addOption(
      new Option("--form <form>", "which form").choices(["training", "deploy"]).default("training"),
    )
    .option("--seed <n>", "of the weights", anyInteger, 0)
    .option("--classes <n>", "outputs of the classifier (default: 1000)", positiveInteger)
    .option("--in-channels <n>", "channels of the image (default: 3)", positiveInteger);
  addCustomNetOptions(command)
    .addOption(
      new Option("--statistics <kind>", "what the batch norms hold")
        .choices(["random", "fresh", "gamma1", "gamma001"])
        .default("random"),
    )
    .option("--height <n>", "fixed input height of an ONNX output", positiveInteger)
    .option("--width <n>", "fixed input width of an ONNX output", positiveInteger)
    .option("--opset <n>", "ONNX operator set, 7 to 22 (default: 17)", positiveInteger)
    .addOption(forceOption())
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  reparam create RepVGG-A0 -o a0.pth --seed 7\n" +
        "  reparam create -o small.onnx --blocks 4,6,16,1 --widths 8,12,16,32 --classes 372 --in-channels 1",
    )
    .action((arch: string | undefined, flags: CreateFlags) => create(arch, flags));
}

function create(name: string | undefined, flags: CreateFlags): Promise<void> {
  return runCommand(flags, async (context) => {
    const { createModelFile } = await import("../host/create-file.ts");
    if (!flags.output.toLowerCase().endsWith(".onnx")) refuseGraphOptions(flags);
    const facts = { inputChannels: flags.inChannels, classes: flags.classes };
    const arch = name === undefined ? customRepVgg(flags, facts) : await namedArch(name, flags);
    const result = await createModelFile(arch, flags.output, {
      form: flags.form,
      seed: flags.seed,
      statistics: flags.statistics,
      force: flags.force,
      height: flags.height,
      width: flags.width,
      opset: flags.opset,
      signal: context.signal,
      onProgress: context.onProgress,
    });
    const { creationJson, creationText } = await import("../report/creation.ts");
    context.print(creationText(result, context.style));
    context.printJson(creationJson(result));
    return 0;
  });
}

function refuseGraphOptions(flags: CreateFlags): void {
  for (const option of ["height", "width", "opset"] as const) {
    if (flags[option] === undefined) continue;
    throw new ReparamError("usage", {
      where: `--${option}`,
      what: `${flags.output} is no ONNX model, which the option is about`,
      fix: "Leave it out",
    });
  }
}

async function namedArch(name: string, flags: CreateFlags): Promise<RepVggArch> {
  refuseCustomNet(flags, name);
  const { repVggArch } = await import("../zoo/nets/index.ts");
  return repVggArch(name, {
    ...(flags.classes === undefined ? {} : { classes: flags.classes }),
    ...(flags.inChannels === undefined ? {} : { inputChannels: flags.inChannels }),
  });
}
