/** @file `reparam create`: a RepVGG with seeded weights. */

import { Argument, type Command, Option } from "commander";
import { ReparamError } from "../core/errors.ts";
import { MAX_BLOCKS } from "../zoo/limits.ts";
import type { CreateRepVggOptions, RepVggArch } from "../zoo/nets/index.ts";
import { anyInteger, forceOption, integerList, jsonOption, positiveInteger } from "./options.ts";
import { runCommand } from "./run-command.ts";

interface CreateFlags {
  readonly output: string;
  readonly form: "training" | "deploy";
  readonly seed: number;
  readonly statistics: NonNullable<CreateRepVggOptions["statistics"]>;
  readonly classes?: number;
  readonly inChannels?: number;
  readonly blocks?: readonly number[];
  readonly widths?: readonly number[];
  readonly stem?: number;
  readonly groups?: number;
  readonly height?: number;
  readonly width?: number;
  readonly opset?: number;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function registerCreate(program: Command): void {
  program
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
    .option("--in-channels <n>", "channels of the image (default: 3)", positiveInteger)
    .option("--blocks <list>", "custom net: blocks per stage, e.g. 4,6,16,1", integerList)
    .option("--widths <list>", "custom net: channels per stage, e.g. 64,128,256,512", integerList)
    .option(
      "--stem <n>",
      "custom net: channels of the first block (default: min(64, first width))",
      positiveInteger,
    )
    .option("--groups <n>", "custom net: groups of every second block", positiveInteger)
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
    const arch = name === undefined ? customRepVgg(flags) : await namedArch(name, flags);
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
  for (const option of ["blocks", "widths", "stem", "groups"] as const) {
    if (flags[option] === undefined) continue;
    throw new ReparamError("usage", {
      where: `--${option}`,
      what: `describes a custom net, but ${name} was named`,
      fix: "Give a name or --blocks and --widths",
    });
  }
  const { repVggArch } = await import("../zoo/nets/index.ts");
  return repVggArch(name, {
    ...(flags.classes === undefined ? {} : { classes: flags.classes }),
    ...(flags.inChannels === undefined ? {} : { inputChannels: flags.inChannels }),
  });
}

const STAGES = 4;

/** What describes a custom net. */
export type CustomNetFlags = Pick<
  CreateFlags,
  "blocks" | "widths" | "stem" | "groups" | "inChannels" | "classes"
>;

/** The net that `--blocks`, `--widths`, `--stem` and `--groups` describe. @throws usage */
export function customRepVgg(flags: CustomNetFlags): RepVggArch {
  const { blocks, widths, groups = 1 } = flags;
  if (blocks?.length !== STAGES || widths?.length !== STAGES) {
    throw new ReparamError("usage", {
      where: "custom net",
      what: "neither a name nor a custom net was given, expected --blocks and --widths with four numbers each",
      fix: "For example reparam create RepVGG-A0 -o a0.pth",
    });
  }
  const count = 1 + blocks.reduce((sum, n) => sum + n, 0);
  if (count > MAX_BLOCKS) {
    throw new ReparamError("usage", {
      where: "--blocks",
      what: `${count} blocks, expected at most ${MAX_BLOCKS}`,
    });
  }
  const stem = flags.stem ?? Math.min(64, widths[0]!);
  const odd = [stem, ...widths].find((width) => width % groups !== 0);
  if (odd !== undefined) {
    throw new ReparamError("usage", {
      where: "--groups",
      what: `${groups} groups do not divide ${odd} channels`,
    });
  }
  return {
    layout: "repvgg",
    inputChannels: flags.inChannels ?? 3,
    stem,
    stageBlocks: blocks,
    stageWidths: widths,
    // As in the published grouped variants: every second block, the stem being block 0.
    groups: Array.from({ length: count }, (_, i) => (i >= 2 && i % 2 === 0 ? groups : 1)),
    classes: flags.classes ?? 1000,
    se: "none",
    auxHeads: false,
  };
}
