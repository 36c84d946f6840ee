/**
 * @file Why an output recorded elsewhere is not what the training form gives: train() mode, channel order,
 * normalization, value range, layout, softmax, half precision. All are tried; one is proved when it explains the output
 * to within the errors of float32 and no other one does.
 */

import { decodeFloat64, float16ToNumber, numberToFloat16, UNIT_ROUNDOFF } from "../core/dtype.ts";
import { isReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { formatShape, type Shape, type Tensor, tensor } from "../core/tensor.ts";
import { graphInputs, type Model } from "../ir/graph.ts";
import type { Runtime } from "../runtime/session.ts";
import { outputMetrics } from "../verify/metrics.ts";
import { loweredStep } from "../verify/precision.ts";
import type { Confidence, Evidence, Finding } from "./finding.ts";
import { type Attempt, channelsFirst, goldenAttempts, isChannelsLast } from "./golden-attempts.ts";
import { type Bound, createRunner, type Output, type Runner } from "./golden-bound.ts";
import { GOLDEN_CAUSES, type GoldenCauseId } from "./golden-causes.ts";

export interface Golden {
  readonly input: Tensor;
  readonly expected: Tensor;
}

/** What an attempt makes of the model's outputs, and how far the recorded one is from it. */
interface Outcome {
  readonly attempt: Attempt | undefined;
  readonly distance: number;
  readonly bound: Bound;
  /** How the numbers may have been stored. */
  readonly storedAs: "float32" | "float16" | undefined;
}

export async function goldenFindings(
  training: Model,
  deploy: Model | undefined,
  golden: Golden,
  runtime: Runtime,
  options: TaskOptions,
): Promise<Finding[]> {
  const swapped = isChannelsLast(golden.input, channelsOf(training));
  const input = toFloat32(swapped ? channelsFirst(golden.input) : golden.input);
  const judge = createJudge(golden.expected, input.shape, runtime, options);
  try {
    const outputs = await judge.outputsOf(training, input);
    const at = outputs.findIndex(({ shape }) => sameShape(shape, golden.expected.shape));
    if (at < 0) {
      const shapes = outputs.map(({ shape }) => formatShape(shape)).join(", ");
      const detail = `its shape is ${formatShape(golden.expected.shape)}, the outputs are ${shapes}`;
      return [unexplained(detail, {})];
    }
    const { name } = outputs[at]!;
    const layout = swapped
      ? [
          finding("golden-layout", `input ${formatShape(golden.input.shape)}`, [name], {
            shape: [...golden.input.shape],
          }),
        ]
      : [];
    const plain = await judge.outcome(undefined, training, input, at);
    if (plain?.storedAs === "float32") return layout;
    const others: Outcome[] = [];
    for (const attempt of goldenAttempts(training, deploy, input)) {
      const { model, input: given } = attempt;
      const outcome = await judge.outcome(attempt, model, given, at, plain!.distance);
      if (outcome) others.push(outcome);
    }
    return [...layout, ...conclude(plain!, others, name, judge.onHalfGrid)];
  } finally {
    await judge.release();
  }
}

/** A rounding of half precision in those of single precision. */
const HALF_ROUNDING = UNIT_ROUNDOFF.float16 / UNIT_ROUNDOFF.float32;

function conclude(
  plain: Outcome,
  others: readonly Outcome[],
  name: string,
  onHalfGrid: boolean,
): Finding[] {
  // That the deploy form gives it as well is no other reason.
  const rivals = others.filter(
    ({ attempt }) => !plain.storedAs || attempt!.cause !== "golden-deploy-only",
  );
  const matching = [plain, ...rivals].filter(({ storedAs }) => storedAs !== undefined);
  const { bound, distance } = plain;
  const measured = { relativeL2: distance, noiseFloor: bound.noise };
  const [first] = matching;
  if (first) {
    const confidence = matching.length === 1 ? "proved" : "consistent";
    const rest = matching.slice(1).map(({ attempt }) => `${attempt!.cause}: ${attempt!.detail}`);
    const evidence: Evidence = {
      relativeL2Before: distance,
      relativeL2After: first.distance,
      noiseFloor: first.bound.noise,
      longestSum: first.bound.terms,
      limit: first.bound.limit,
      ...(rest.length > 0 ? { alsoFits: rest } : {}),
    };
    const half = (): Finding =>
      finding(
        "golden-float16",
        "every number is a float16, and rounding to it explains the distance",
        [name],
        evidence,
        confidence,
      );
    if (!first.attempt) return [half()];
    const { cause, detail } = first.attempt;
    const named = finding(cause, detail, [name], evidence, confidence);
    return first.storedAs === "float16" ? [named, half()] : [named];
  }
  // Computed in half precision: every rounding is 2¹³ times as large. Another reason may be hidden by that.
  const nearer = others.some(({ attempt }) => attempt!.cause !== "golden-deploy-only");
  if (onHalfGrid && !nearer && distance <= HALF_ROUNDING * bound.limit) {
    return [finding("golden-float16", "every number is a float16", [name], measured, "consistent")];
  }
  return [unexplained("none of the usual reasons brings it near", measured)];
}

function finding(
  cause: GoldenCauseId,
  detail: string,
  outputs: readonly string[],
  evidence: Evidence,
  confidence: Confidence = "proved",
): Finding {
  const { fix } = GOLDEN_CAUSES[cause];
  return { cause, detail, blocks: outputs, confidence, evidence, effect: undefined, fix };
}

function unexplained(detail: string, evidence: Record<string, number>): Finding {
  return finding("golden-unexplained", detail, [], evidence, "consistent");
}

interface Judge {
  /** Whether every recorded number is a float16. */
  readonly onHalfGrid: boolean;
  outputsOf(model: Model, input: Tensor): Promise<Output[]>;
  /**
   * Undefined where the model has no float64 form, or an output of another shape, or is no nearer than `least`: then it
   * explains nothing.
   */
  outcome(
    attempt: Attempt | undefined,
    model: Model,
    input: Tensor,
    at: number,
    least?: number,
  ): Promise<Outcome | undefined>;
  release(): Promise<void>;
}

function createJudge(
  expected: Tensor,
  shape: Shape,
  runtime: Runtime,
  options: TaskOptions,
): Judge {
  const recorded = decodeFloat64(expected.bytes, expected.dtype);
  const onHalfGrid = recorded.every((value) => float16ToNumber(numberToFloat16(value)) === value);
  const runners = new Map<Model, Promise<Runner>>();
  const runnerOf = (model: Model): Promise<Runner> => {
    const runner = runners.get(model) ?? createRunner(model, runtime, shape, options);
    runners.set(model, runner);
    return runner;
  };
  return {
    onHalfGrid,
    outputsOf: async (model, input) => (await runnerOf(model)).outputs(input),
    outcome: async (attempt, model, input, at, least = Number.POSITIVE_INFINITY) => {
      const runner = await runnerOf(model).catch(refusedToUndefined);
      const output = (await runner?.outputs(input))?.[at];
      if (!runner || !output || !sameShape(output.shape, expected.shape)) return undefined;
      const read = ({ data, shape: made }: Output): Float64Array =>
        attempt ? attempt.output(data, made) : data;
      const truth = read(output);
      const distance = outputMetrics(truth, recorded).relativeL2;
      if (distance >= least) return undefined;
      const bound = await runner.bound(input, at, read);
      const cast = outputMetrics(truth, truth.map(afterCast)).relativeL2;
      const storedAs =
        distance <= bound.limit
          ? "float32"
          : onHalfGrid && distance <= bound.limit + cast
            ? "float16"
            : undefined;
      // A limit of the output's own size would prove anything.
      return { attempt, distance, bound, storedAs: bound.limit < 1 ? storedAs : undefined };
    },
    release: async () => {
      for (const runner of runners.values()) {
        await (await runner.catch(refusedToUndefined))?.release();
      }
    },
  };
}

/** As far as storing the number as a float16 can move it. */
function afterCast(value: number): number {
  return value + loweredStep(value, "float16");
}

function refusedToUndefined(error: unknown): undefined {
  if (!isReparamError(error, "refused")) throw error;
  return undefined;
}

function channelsOf(model: Model): number | undefined {
  const channels = graphInputs(model.graph)[0]?.shape?.[1];
  return typeof channels === "number" ? channels : undefined;
}

function toFloat32(input: Tensor): Tensor {
  if (input.dtype === "float32") return input;
  return tensor("float32", input.shape, Float32Array.from(decodeFloat64(input.bytes, input.dtype)));
}

function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}
