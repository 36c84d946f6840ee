/** @file `reparam insert`: multi-branch blocks put into a plain net, without changing its function. */

import { type Command, Option } from "commander";
import { ReparamError } from "../core/errors.ts";
import type { InsertFileOptions } from "../host/insert-file.ts";
import type { BlockKind } from "../rewrite/insert/blocks.ts";
import type { FreshStart } from "../rewrite/insert/fresh-tensors.ts";
import type { BatchNormPlacement } from "../zoo/pair-conv-bn.ts";
import { given, refuse } from "./assert-useful.ts";
import { VERDICT_EXIT_CODES } from "./exit-codes.ts";
import {
  anyInteger,
  forceOption,
  jsonOption,
  parseShape,
  positiveInteger,
  positiveNumber,
} from "./options.ts";
import { runCommand } from "./run-command.ts";

interface InsertFlags {
  readonly output: string;
  readonly block: BlockKind;
  readonly match?: string;
  readonly fresh?: FreshStart;
  readonly seed?: number;
  readonly share?: number;
  readonly branches?: number;
  readonly calibrate?: string;
  readonly input?: string;
  readonly weightsOnly?: boolean;
  readonly strided?: string;
  readonly groups?: string;
  readonly batchNorm?: BatchNormPlacement;
  readonly key?: string;
  readonly eps?: number;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function registerInsert(program: Command): void {
  program
    .command("insert")
    .summary("multi-branch blocks into a plain net; function unchanged")
    .description(
      "Replaces every convolution with more than one tap (and the batch norm that follows it) by" +
        " a multi-branch block in training form that computes the same. What was written is read" +
        " back and compared with the original before it gets its name.",
    )
    .argument("<model>", "ONNX model, or checkpoint of a plain convolution net")
    .requiredOption(
      "-o, --output <file>",
      "where to: .onnx, or .pth or .safetensors for a checkpoint",
    )
    .addOption(forceOption())
    .addOption(
      new Option("--block <kind>", "kind of block")
        .choices(["repvgg", "mobileone", "acnet", "dbb"])
        .default("repvgg"),
    )
    .option("--match <pattern>", "only convolutions of these names, e.g. 'layer1.*,stem'")
    .addOption(
      new Option("--fresh <start>", "initialise anew instead: γ 1, β 0; or both 0.01").choices([
        "gamma1",
        "gamma001",
      ]),
    )
    .option("--seed <n>", "of the random shares (default: 0)", anyInteger)
    .option(
      "--share <x>",
      "largest part of a weight that a branch takes (default: 0.25)",
      positiveNumber,
    )
    .option("--branches <n>", "dense branches of a mobileone block (default: 4)", positiveInteger)
    .option(
      "--calibrate <data>",
      "x.npy or a folder of images: statistics of the batch norms (ONNX)",
    )
    .option("--input <shape>", "input for the check of the whole net, e.g. 1x3x224x224 (ONNX)")
    .option("--weights-only", "check the weights alone; the nets are not run")
    .option("--strided <pattern>", "convolutions with a stride: no identity branch (checkpoint)")
    .option("--groups <list>", "PATTERN=G or PATTERN=depthwise; several with ; (checkpoint)")
    .addOption(
      new Option("--batch-norm <where>", "where batch norms stand (checkpoint)").choices([
        "after",
        "none",
      ]),
    )
    .option("--key <name>", "which state dict inside a checkpoint, e.g. ema")
    .option("--eps <number>", "BatchNorm epsilon of a checkpoint (default: 1e-5)", positiveNumber)
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  reparam insert resnet18.onnx -o train.onnx\n" +
        "  reparam insert resnet18.onnx -o train.onnx --block dbb --match 'layer4.*'\n" +
        "  reparam insert resnet18.onnx -o train.onnx --calibrate photos/\n" +
        "  reparam insert vgg16_bn.pth -o train.pth --block acnet",
    )
    .action((model: string, flags: InsertFlags) => insert(model, flags));
}

function insert(path: string, flags: InsertFlags): Promise<void> {
  return runCommand(flags, async (context) => {
    assertUsefulFlags(flags);
    const { insertFile } = await import("../host/insert-file.ts");
    const { block, match, fresh, seed, share, branches } = flags;
    const { strided, groups, batchNorm, force, key } = flags;
    const wantsRuntime = flags.weightsOnly !== true || flags.calibrate !== undefined;
    const result = await insertFile(path, flags.output, {
      ...{ block, match, fresh, seed, share, branches },
      ...{ strided, groups, batchNorm, force, key, epsilon: flags.eps },
      inputShape: inputShape(flags.input),
      calibration: await calibration(flags),
      check: flags.weightsOnly ? "weights" : "whole",
      runtime: wantsRuntime
        ? async () => (await import("../host/ort-node.ts")).loadNodeRuntime()
        : undefined,
      signal: context.signal,
      onProgress: context.onProgress,
    });
    if (context.json) {
      context.printJson((await import("../report/insertion-json.ts")).insertionJson(result));
    } else {
      const { insertionText } = await import("../report/insertion-text.ts");
      context.print(insertionText(result, context.style));
    }
    const word = result.verification?.verdict.word;
    return word === undefined ? 0 : VERDICT_EXIT_CODES[word];
  });
}

/** Before any file is opened: its kind is that of the output. @throws usage, naming an option without a use */
function assertUsefulFlags(flags: InsertFlags): void {
  const { output, block, fresh } = flags;
  if (/\.onnx$/i.test(output)) {
    const reading = given({
      "--key": flags.key,
      "--eps": flags.eps,
      "--strided": flags.strided,
      "--groups": flags.groups,
      "--batch-norm": flags.batchNorm,
    });
    refuse(reading, "an ONNX model says itself what the option tells of checkpoints");
  } else {
    refuse(given({ "--input": flags.input }), "a checkpoint is not run");
  }
  if (block !== "mobileone") {
    refuse(given({ "--branches": flags.branches }), `${block} has one dense branch`);
  }
  const checking = { "--input": flags.input, "--weights-only": flags.weightsOnly };
  if (fresh) {
    const keeping = { "--share": flags.share, "--calibrate": flags.calibrate, ...checking };
    refuse(given(keeping), `--fresh ${fresh} starts anew, so no function is kept or checked`);
  }
  if (flags.weightsOnly && flags.calibrate === undefined) {
    refuse(given({ "--input": flags.input }), "--weights-only runs no net");
  }
}

function inputShape(text: string | undefined): readonly number[] | undefined {
  if (text === undefined) return undefined;
  const shape = parseShape(text);
  if (shape) return shape;
  throw new ReparamError("usage", {
    where: "--input",
    what: `${JSON.stringify(text)}, expected a shape such as 1x3x224x224`,
  });
}

/** A `.npy` array, or the images of a folder at the size that `--input` says. */
async function calibration(flags: InsertFlags): Promise<InsertFileOptions["calibration"]> {
  const { calibrate } = flags;
  if (calibrate === undefined) return undefined;
  if (calibrate.toLowerCase().endsWith(".npy")) {
    const { readArray } = await import("../host/verify-files.ts");
    return readArray(calibrate);
  }
  const { readImageBatch } = await import("../host/image-batch.ts");
  const [count = CALIBRATION_IMAGES, , height, width] = inputShape(flags.input) ?? [];
  return readImageBatch(calibrate, { count, height, width });
}

/** Statistics over 16 images have some 10⁴ positions per channel even in late layers. */
const CALIBRATION_IMAGES = 16;
