/** @file A custom RepVGG by `--blocks`, `--widths`, `--stem` and `--groups`. */

import type { Command } from "commander";
import { ReparamError } from "../core/errors.ts";
import { MAX_BLOCKS } from "../zoo/limits.ts";
import type { RepVggArch } from "../zoo/nets/index.ts";
import { integerList, positiveInteger } from "./options.ts";

const STAGES = 4;

/** What describes a custom net's blocks. */
export interface CustomNetFlags {
  readonly blocks?: readonly number[];
  readonly widths?: readonly number[];
  readonly stem?: number;
  readonly groups?: number;
}

/** `--blocks --widths --stem --groups` */
export function addCustomNetOptions(command: Command): Command {
  return command
    .option("--blocks <list>", "custom net: blocks per stage, e.g. 4,6,16,1", integerList)
    .option("--widths <list>", "custom net: channels per stage, e.g. 64,128,256,512", integerList)
    .option(
      "--stem <n>",
      "custom net: channels of the first block (default: min(64, first width))",
      positiveInteger,
    )
    .option("--groups <n>", "custom net: groups of every second block", positiveInteger);
}

/** @throws usage where a net that has its blocks, `name`, was given beside options that describe others */
export function refuseCustomNet(flags: CustomNetFlags, name: string): void {
  for (const option of ["blocks", "widths", "stem", "groups"] as const) {
    if (flags[option] === undefined) continue;
    throw new ReparamError("usage", {
      where: `--${option}`,
      what: `describes a custom net, but ${name} was named`,
      fix: "Give a name or --blocks and --widths",
    });
  }
}

/** Channels of the image, default 3, and outputs of the classifier, default 1000. */
interface NetEnds {
  readonly inputChannels?: number | undefined;
  readonly classes?: number | undefined;
}

/** The net that `--blocks`, `--widths`, `--stem` and `--groups` describe. @throws usage */
export function customRepVgg(
  flags: CustomNetFlags,
  { inputChannels = 3, classes = 1000 }: NetEnds,
): RepVggArch {
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
    inputChannels,
    stem,
    stageBlocks: blocks,
    stageWidths: widths,
    // As in the published grouped variants: every second block, the stem being block 0.
    groups: Array.from({ length: count }, (_, i) => (i >= 2 && i % 2 === 0 ? groups : 1)),
    classes,
    se: "none",
    auxHeads: false,
  };
}
