/** @file Options that several commands share, and how their texts become values. */

import { type Command, InvalidArgumentError, Option } from "commander";
import type { ModelFile, ReadingOptions } from "../convert/open.ts";

/** What commander hands over for the options of `addReadingOptions`. */
export interface ReadingFlags {
  readonly key?: string;
  readonly eps?: number;
  readonly family?: string;
  /** False with `--no-identity`. */
  readonly identity?: boolean;
  readonly recipe?: readonly string[];
  readonly arch?: string;
  readonly json?: boolean;
}

/** `--key --eps --family --recipe --arch --json` */
export function addReadingOptions(command: Command): Command {
  return command
    .option("--key <name>", "which state dict inside a checkpoint, e.g. ema")
    .option("--eps <number>", "BatchNorm epsilon, where the file does not hold it", positiveNumber)
    .option("--family <name>", "block family, where several fit (per prefix: a,neck.*=b)")
    .option("--no-identity", "no bare identity branch where a block's keys do not tell")
    .option(
      "--recipe <file>",
      "a block family of your own, as JSON; may be repeated",
      (path: string, all: readonly string[] = []) => [...all, path],
    )
    .option("--arch <name>", "insist on this architecture, e.g. RepVGG-A0")
    .addOption(jsonOption());
}

export function jsonOption(): Option {
  return new Option("--json", "print one JSON document instead of text");
}

export function forceOption(): Option {
  return new Option("-f, --force", "overwrite the output if it exists");
}

/** The library's options from the command line's. Reads recipe files. @throws not-found, cannot-read, bad-data */
export async function readingOptions(flags: ReadingFlags): Promise<ReadingOptions> {
  return {
    key: flags.key,
    epsilon: flags.eps,
    family: flags.family,
    identity: flags.identity === false ? false : undefined,
    recipes: flags.recipe && (await readRecipes(flags.recipe)),
  };
}

/** A check of the opened file for `--arch`. */
export async function archCheck(
  arch: string | undefined,
): Promise<((file: ModelFile) => void) | undefined> {
  if (arch === undefined) return undefined;
  const { assertArch } = await import("../convert/check-arch.ts");
  return (file) => assertArch(file, arch);
}

async function readRecipes(
  paths: readonly string[],
): Promise<NonNullable<ReadingOptions["recipes"]>> {
  const { openFile } = await import("../host/file-source.ts");
  const { parseRecipe } = await import("../zoo/recipe.ts");
  const recipes = [];
  for (const path of paths) {
    const source = await openFile(path);
    try {
      const text = new TextDecoder().decode(await source.slice(0, source.byteLength));
      recipes.push(parseRecipe(path, text));
    } finally {
      await source.close();
    }
  }
  return recipes;
}

export function positiveNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError("Expected a number above 0.");
}

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError("Expected a whole number above 0.");
}

export function anyInteger(text: string): number {
  const value = Number(text);
  if (/^-?\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError("Expected a whole number.");
}

export function notNegative(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError("Expected a number of at least 0.");
}

export function wholeNumber(text: string): number {
  const value = notNegative(text);
  if (Number.isInteger(value)) return value;
  throw new InvalidArgumentError("Expected a whole number.");
}

/** `0.485,0.456,0.406` */
export function numberList(text: string): number[] {
  return text.split(",").map((part) => {
    const value = Number(part);
    if (part.trim() !== "" && Number.isFinite(value)) return value;
    throw new InvalidArgumentError("Expected numbers with commas between them.");
  });
}

/** `4,6,16,1` */
export function integerList(text: string): number[] {
  return text.split(",").map(positiveInteger);
}

/** `1x3x224x224`; undefined where the text is no shape. */
export function parseShape(text: string): number[] | undefined {
  return /^[1-9]\d{0,6}(x[1-9]\d{0,6}){0,7}$/i.test(text)
    ? text.toLowerCase().split("x").map(Number)
    : undefined;
}
