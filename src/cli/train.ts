/** @file `reparam train`: trains a net on a folder of images and leaves the training form, verified against its deploy form. */

import { existsSync } from "node:fs";
import { Argument, type Command, Option } from "commander";
import { ReparamError } from "../core/errors.ts";
import type { DataFacts, TrainFileOptions } from "../host/train-file.ts";
import type { RepVggArch } from "../zoo/nets/index.ts";
import { given, refuse } from "./assert-useful.ts";
import {
  addCustomNetOptions,
  type CustomNetFlags,
  customRepVgg,
  refuseCustomNet,
} from "./custom-net.ts";
import { VERDICT_EXIT_CODES } from "./exit-codes.ts";
import { addReportOption, checkReportName, type ReportFlags, writeReport } from "./html-report.ts";
import {
  anyInteger,
  forceOption,
  jsonOption,
  notNegative,
  numberList,
  positiveInteger,
  positiveNumber,
  wholeNumber,
} from "./options.ts";
import { runCommand } from "./run-command.ts";
import { trainListeners } from "./train-progress.ts";

interface TrainFlags extends ReportFlags, CustomNetFlags {
  readonly data: string;
  readonly epochs: number;
  readonly output: string;
  readonly deploy?: string;
  readonly key?: string;
  readonly imageSize?: number;
  readonly batch: number;
  readonly accumulate: number;
  readonly optimizer: "sgd" | "adamw";
  readonly lr?: number;
  readonly warmup: number;
  readonly momentum?: number;
  readonly weightDecay?: number;
  readonly customL2?: boolean;
  readonly smoothing: number;
  readonly cropPadding: number;
  readonly flip?: boolean;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  readonly ema?: number;
  readonly clip?: number;
  readonly freeze?: readonly string[];
  readonly seed: number;
  readonly threads?: number;
  readonly log?: string;
  readonly run?: string;
  readonly saveEvery?: number;
  readonly resume?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function registerTrain(program: Command): void {
  const command = program
    .command("train")
    .summary("train a net on a folder of images")
    .description(
      "Trains on onnxruntime. At the end the deploy form is made and compared with the training form," +
        " and both are tried on the validation images. The same seed gives the same curve.",
    )
    .addArgument(
      new Argument(
        "[net]",
        "RepVGG-A0 …, a checkpoint of one, or an .onnx model; none with --blocks",
      ),
    )
    .requiredOption(
      "--data <folder>",
      "train/CLASS/*.jpg and val/CLASS/*.jpg, MNIST idx files, or CIFAR binary files",
    )
    .requiredOption("--epochs <n>", "passes over the data", positiveInteger)
    .requiredOption("-o, --output <file>", "training form: .pth, .safetensors or .onnx")
    .option("--deploy <file>", "write the deploy form too")
    .option("--key <name>", "which state dict inside a checkpoint, e.g. ema");
  addCustomNetOptions(command)
    .option(
      "--image-size <n>",
      "height and width of samples from image folders (default: 224)",
      positiveInteger,
    )
    .option("--batch <n>", "images per step", positiveInteger, 128)
    .option("--accumulate <n>", "batches per optimizer step", positiveInteger, 1)
    .addOption(new Option("--optimizer <name>", "which").choices(["sgd", "adamw"]).default("sgd"))
    .option(
      "--lr <x>",
      "peak learning rate (default: 0.1 per 256 images; adamw 1e-3)",
      positiveNumber,
    )
    .option("--warmup <epochs>", "linear rise at the start", notNegative, 0)
    .option("--momentum <x>", "of sgd, which is Nesterov's (default: 0.9)", notNegative)
    .option(
      "--weight-decay <x>",
      "not on biases and most gammas (default: 1e-4; adamw 0.05)",
      notNegative,
    )
    .option("--custom-l2", "RepVGG's penalty on equivalent kernels in place of their weight decay")
    .option("--smoothing <x>", "label smoothing", notNegative, 0)
    .option("--crop-padding <n>", "random crop after padding by n pixels", wholeNumber, 0)
    .option("--flip", "mirror half of the images")
    .option(
      "--mean <list>",
      "per channel, of values in 0 … 1 (default: ImageNet's for 3 channels, else 0.5)",
      numberList,
    )
    .option(
      "--std <list>",
      "per channel (default: ImageNet's for 3 channels, else 0.5)",
      numberList,
    )
    .option(
      "--ema <decay>",
      "keep and write a moving average of the weights, e.g. 0.999",
      positiveNumber,
    )
    .option("--clip <norm>", "clip the gradient to this norm", positiveNumber)
    .option(
      "--freeze <prefix>",
      "do not train weights whose name starts so; may be repeated",
      (prefix: string, all: readonly string[] = []) => [...all, prefix],
    )
    .option("--seed <n>", "of weights, order and augmentation", anyInteger, 0)
    .option("--threads <n>", "within one operator (default: the runtime's choice)", positiveInteger)
    .option("--log <file>", "every step and epoch as a line of JSON")
    .option("--run <file>", "where the run is kept until it is done (default: OUTPUT.run)")
    .option("--save-every <steps>", "also save the run inside epochs", positiveInteger)
    .option("--resume", "go on with a run that was stopped")
    .addOption(forceOption())
    .addOption(jsonOption());
  addReportOption(command)
    .addHelpText(
      "after",
      "\nExamples:\n" +
        "  reparam train RepVGG-A0 --data imagenet --epochs 120 --warmup 5 --smoothing 0.1 --flip -o a0.pth\n" +
        "  reparam train --blocks 1,2,2,1 --widths 32,64,128,128 --data mnist --epochs 2 -o small.pth --deploy small.onnx\n" +
        "  reparam train a0.pth --data flowers --epochs 10 --freeze stage0. --freeze stage1. -o flowers.pth",
    )
    .action((net: string | undefined, flags: TrainFlags) => train(net, flags));
}

function train(net: string | undefined, flags: TrainFlags): Promise<void> {
  return runCommand(flags, async (context) => {
    checkReportName(flags);
    const { trainFile } = await import("../host/train-file.ts");
    const { assertWritable } = await import("../host/assert-writable.ts");
    await assertWritable(flags.report, { force: flags.force ?? false });
    const runPath = flags.run ?? `${flags.output}.run`;
    if (flags.resume && !existsSync(runPath)) {
      context.note(`${runPath}: no run to go on with, a new one starts`);
    }
    const result = await trainFile({
      ...(await trainOptions(net, flags)),
      signal: context.signal,
      ...trainListeners(context),
    });
    await writeReport(flags, () => ({ command: "train", result }));
    const { trainingJson, trainingText } = await import("../report/training.ts");
    context.print(trainingText(result, context.style));
    context.printJson(trainingJson(result));
    return VERDICT_EXIT_CODES[result.verification.verdict.word];
  });
}

async function trainOptions(net: string | undefined, flags: TrainFlags): Promise<TrainFileOptions> {
  const { lr, weightDecay, mean, std, momentum = 0.9 } = flags;
  const sgd = flags.optimizer === "sgd";
  if (!sgd) refuse(given({ "--momentum": flags.momentum }), "adamw has moments of its own");
  const learningRate = lr ?? (sgd ? (0.1 * flags.batch * flags.accumulate) / 256 : 1e-3);
  const decay = weightDecay ?? (sgd ? 1e-4 : 0.05);
  if ((mean === undefined) !== (std === undefined)) {
    throw new ReparamError("usage", {
      where: "--mean, --std",
      what: "only one of them was given, expected both",
    });
  }
  return {
    net: await netOf(net, flags),
    dataFolder: flags.data,
    outPath: flags.output,
    epochs: flags.epochs,
    batch: flags.batch,
    accumulationSteps: flags.accumulate,
    schedule: { learningRate, warmupEpochs: flags.warmup },
    optimizer: sgd
      ? { type: "sgd", momentum, nesterov: momentum > 0, weightDecay: decay }
      : { type: "adamw", weightDecay: decay },
    labelSmoothing: flags.smoothing,
    augment: { cropPadding: flags.cropPadding, flip: flags.flip ?? false },
    seed: flags.seed,
    resumeRun: flags.resume ?? false,
    force: flags.force ?? false,
    ...(mean && std ? { normalization: { mean, std } } : {}),
    ...(flags.customL2 ? { customL2: decay } : {}),
    ...(flags.deploy === undefined ? {} : { deployPath: flags.deploy }),
    ...(flags.imageSize === undefined ? {} : { imageSize: flags.imageSize }),
    ...(flags.ema === undefined ? {} : { emaDecay: flags.ema }),
    ...(flags.clip === undefined ? {} : { clipNorm: flags.clip }),
    ...(flags.freeze === undefined ? {} : { frozen: flags.freeze }),
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    ...(flags.log === undefined ? {} : { logPath: flags.log }),
    ...(flags.run === undefined ? {} : { runPath: flags.run }),
    ...(flags.saveEvery === undefined ? {} : { checkpointEverySteps: flags.saveEvery }),
  };
}

async function netOf(net: string | undefined, flags: TrainFlags): Promise<TrainFileOptions["net"]> {
  const { key } = flags;
  if (net !== undefined) refuseCustomNet(flags, net);
  if (net !== undefined && (existsSync(net) || /\.[a-z]+$/i.test(net))) {
    return { file: net, ...(key === undefined ? {} : { key }) };
  }
  if (key !== undefined) {
    throw new ReparamError("usage", {
      where: "--key",
      what: "is about a checkpoint to train on from, and none was given",
      fix: "Leave it out",
    });
  }
  if (net === undefined) {
    return ({ channels, classes }: DataFacts) =>
      customRepVgg(flags, { inputChannels: channels, classes });
  }
  const { repVggArch } = await import("../zoo/nets/index.ts");
  repVggArch(net); // an unknown name is said before the data is looked at
  return ({ channels, classes }: DataFacts): RepVggArch =>
    repVggArch(net, { inputChannels: channels, classes });
}
