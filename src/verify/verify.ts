/** @file The verdict on a training form and a deploy form: certificate A, and C where both graphs are known. */

import { knownGraph } from "../convert/deploy-graph.ts";
import type { ModelFile } from "../convert/open.ts";
import { type FloatDType, UNIT_ROUNDOFF } from "../core/dtype.ts";
import { isReparamError, ReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import type { Shape, Tensor } from "../core/tensor.ts";
import type { Model } from "../ir/graph.ts";
import { graphInputs } from "../ir/graph.ts";
import type { Runtime } from "../runtime/session.ts";
import type { FunctionCertificate } from "./function.ts";
import { generateInputs } from "./inputs.ts";
import { openSide, type Side } from "./side.ts";
import { decide, type Verdict } from "./verdict.ts";
import { type WeightCertificate, weightCertificate } from "./weights.ts";

export interface VerifyOptions extends TaskOptions {
  /**
   * Loads the runtime for certificate C; called only when both graphs are known. Without it, weights alone are compared.
   */
  readonly runtime?: (() => Promise<Runtime>) | undefined;
  /** The first input's values, e.g. from `.npy`. Default: generated. */
  readonly input?: Tensor | undefined;
  /** The first input's shape, where the model leaves it open. */
  readonly inputShape?: Shape | undefined;
  readonly seed?: number | undefined;
  /** Replicas of certificate C. Default 19. */
  readonly replicas?: number | undefined;
}

export interface Verification {
  readonly training: Side;
  readonly deploy: Side;
  readonly verdict: Verdict;
  readonly weights: WeightCertificate;
  readonly whole: FunctionCertificate | undefined;
  /** Why certificate C was not run, if it was not. */
  readonly wholeSkipped: string | undefined;
}

/**
 * Compares a training form with a deploy form. Checkpoints and ONNX models in any pairing.
 *
 * @throws usage when the files are given in the wrong order; what opening and recognising them throws; aborted
 */
export async function verify(
  trainingFile: ModelFile,
  deployFile: ModelFile,
  options: VerifyOptions = {},
): Promise<Verification> {
  const training = await openSide(trainingFile, deployFile);
  const deploy = await openSide(deployFile);
  if (training.form === "deploy" && deploy.form === "training") {
    throw new ReparamError("usage", {
      where: trainingFile.name,
      what: `is a deploy form and ${deployFile.name} a training form, expected the other way round`,
      fix: "Give the training form first",
    });
  }
  const weights = await weightCertificate(training, deploy, options);
  const graphs = options.runtime ? bothGraphs(trainingFile, deployFile) : WEIGHTS_ONLY;
  const whole =
    typeof graphs === "object"
      ? // Lowering and running is a third of the code; comparing weights alone should not load it.
        await (await import("./function.ts")).functionCertificate(
          graphs.training,
          graphs.deploy,
          chooseInputs(graphs, options),
          {
            ...options,
            runtime: await options.runtime!(),
            provedRoundings: provedRoundings(weights),
            roundingFormat: roundingFormat(weights),
          },
        )
      : undefined;
  const wholeSkipped = typeof graphs === "string" ? graphs : undefined;
  return { training, deploy, weights, whole, wholeSkipped, verdict: decide(weights, whole) };
}

const WEIGHTS_ONLY = "weights only was asked for";

/** The largest number of roundings that a proved block's weights may have taken; 1 if certificate A is not complete. */
function provedRoundings({ blocks, others }: WeightCertificate): number {
  const proved = blocks.every((block) => block.status === "exact" || block.status === "rounding");
  if (!proved || others.missing.length > 0 || others.different.length > 0) return 1;
  return Math.max(
    1,
    ...blocks
      .filter((block) => block.status === "rounding")
      .map((block) => Math.max(block.k.weight, block.k.bias)),
  );
}

/** The coarsest format whose roundings certificate A counts, but no finer than float32, in which nets are run. */
function roundingFormat({ blocks }: WeightCertificate): FloatDType {
  return blocks.reduce<FloatDType>(
    (coarsest, { unit }) => (UNIT_ROUNDOFF[unit] > UNIT_ROUNDOFF[coarsest] ? unit : coarsest),
    "float32",
  );
}

function bothGraphs(
  training: ModelFile,
  deploy: ModelFile,
): { training: Model; deploy: Model } | string {
  const first = graphOf(training);
  const second = graphOf(deploy);
  if (typeof first === "string") return first;
  if (typeof second === "string") return second;
  return { training: first, deploy: second };
}

/** A file's graph, or why there is none. */
function graphOf(file: ModelFile): Model | string {
  if (file.kind === "onnx") return file.model;
  try {
    return (
      knownGraph(file, undefined) ??
      `${file.name} is a checkpoint, and the network around its blocks is not known`
    );
  } catch (error) {
    if (isReparamError(error, "bad-data")) return `${error.where}: ${error.what}`;
    throw error;
  }
}

/** Inputs that both graphs take: a size that one of them fixes is used for both. */
export function chooseInputs(
  { training, deploy }: { training: Model; deploy: Model },
  options: VerifyOptions,
): Map<string, Tensor> {
  const model = withFixedSizes(training, deploy);
  const first = graphInputs(model.graph)[0];
  const shape = options.input?.shape ?? options.inputShape;
  const generated = generateInputs(model, { shape, seed: options.seed });
  return options.input && first ? generated.set(first.name, options.input) : generated;
}

function withFixedSizes(training: Model, deploy: Model): Model {
  const others = graphInputs(deploy.graph);
  const inputs = graphInputs(training.graph).map((input, i) => {
    const other = others[i]?.shape;
    if (!input.shape || other?.length !== input.shape.length) return input;
    const shape = input.shape.map((dim, axis) => (typeof dim === "number" ? dim : other[axis]));
    return { ...input, shape };
  });
  return { ...training, graph: { ...training.graph, inputs } };
}
