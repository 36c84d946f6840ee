/**
 * @file Options that mean nothing for the file at hand, or beside another option, are errors: whoever gave one expected
 * it to do something.
 */

import type { ModelFile } from "../convert/open.ts";
import { ReparamError } from "../core/errors.ts";
import { archCheck, type ReadingFlags } from "./options.ts";

/** Options beside `ReadingFlags` that only some files have a use for. */
export interface TargetFlags {
  readonly output?: string;
  readonly height?: number;
  readonly width?: number;
  readonly opset?: number;
  readonly clean?: boolean;
  readonly allowCostlier?: boolean;
}

/** The check of the opened file for `--arch` and for options without a use. */
export async function fileCheck(
  flags: ReadingFlags & TargetFlags,
): Promise<(file: ModelFile) => void> {
  const checkArch = await archCheck(flags.arch);
  const recipes = flags.recipe && (await import("../convert/check-recipes.ts"));
  return (file) => {
    assertUseful(flags, file);
    if (file.kind === "checkpoint") recipes?.assertRecipesFit(file);
    checkArch?.(file);
  };
}

/** The check of a comparison's two files: an option about checkpoints may be about either. */
export async function pairCheck(
  flags: ReadingFlags,
): Promise<(training: ModelFile, deploy?: ModelFile) => void> {
  const checkArch = await archCheck(flags.arch);
  return (training, deploy) => {
    if (training.kind === "onnx" && deploy?.kind === "onnx") {
      refuse(
        readingGiven(flags),
        "both files are ONNX models: their nodes say what checkpoints leave open",
      );
    }
    checkArch?.(training);
  };
}

/** What a comparison's nets are run on, and whether they are. */
export interface RunFlags {
  readonly input?: string;
  readonly golden?: readonly string[];
  readonly images?: string;
  readonly weightsOnly?: boolean;
  readonly replicas?: number;
  readonly seed?: number;
}

/** Checked before a file is opened. @throws usage, naming the first option that another one leaves without a use */
export function assertUsefulTogether(flags: RunFlags): void {
  const { golden, images, input, replicas, seed } = flags;
  const inputs = given({ "--images": images, "--input": input });
  if (flags.weightsOnly) {
    const running = given({ "--golden": golden, "--replicas": replicas, "--seed": seed });
    refuse([...inputs, ...running], "--weights-only runs no net, and the option is about runs");
  }
  if (golden) refuse(inputs, "--golden holds the input that its output was recorded for");
}

/** @throws usage, naming the first option that has no meaning for `file` or the output */
function assertUseful(flags: ReadingFlags & TargetFlags, file: ModelFile): void {
  const shape = given({
    "--height": flags.height,
    "--width": flags.width,
    "--opset": flags.opset,
  });
  const graph = given({
    "--no-clean": flags.clean === false || undefined,
    "--allow-costlier": flags.allowCostlier,
  });
  if (file.kind === "checkpoint") {
    refuse(graph, `${file.name} is a checkpoint, and the option is about the nodes of ONNX models`);
    if (flags.output !== undefined && !/\.onnx$/i.test(flags.output)) {
      refuse(shape, `${flags.output} is no ONNX model, which the option is about`);
    }
    return;
  }
  refuse(
    readingGiven(flags),
    `${file.name} is an ONNX model: its nodes say what checkpoints leave open`,
  );
  refuse(shape, `${file.name} is an ONNX model: its inputs and operator set are kept`);
}

/** The options that say how a checkpoint is to be read. */
function readingGiven(flags: ReadingFlags): string[] {
  return given({
    "--key": flags.key,
    "--eps": flags.eps,
    "--family": flags.family,
    "--recipe": flags.recipe,
    "--no-identity": flags.identity === false || undefined,
  });
}

/** Names of the options that were given. */
export function given(options: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(options).filter((name) => options[name] !== undefined);
}

/** @throws usage, naming the first of the options */
export function refuse([option]: readonly string[], why: string): void {
  if (option === undefined) return;
  throw new ReparamError("usage", { where: option, what: why, fix: "Leave it out" });
}
