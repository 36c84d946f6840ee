/**
 * @file Why a deploy form is not the same function as its training form: verified first, then every difference traced to
 * a cause. Weights are read block by block; only blocks that differ cost more than the verification.
 */

import type { ModelFile } from "../convert/open.ts";
import type { TaskOptions } from "../core/task.ts";
import type { Model } from "../ir/graph.ts";
import { chooseInputs, type Verification, type VerifyOptions } from "../verify/verify.ts";
import { createEffectMeter } from "./effect.ts";
import { findCauses } from "./find-causes.ts";
import type { BlockFault, Finding } from "./finding.ts";
import { type Golden, goldenFindings } from "./golden-level.ts";
import { exactDeploy, knownModel } from "./known-model.ts";
import { doesItMatter, errorGrowth, type Numerics, weightNumerics } from "./numerics.ts";

export interface DiagnoseOptions extends VerifyOptions {
  /** An input and the output recorded for it elsewhere (needs `runtime`). The input is then used for all runs. */
  readonly golden?: Golden | undefined;
  /** Also measure cancellation, near-dead filters, half precision and error growth. Default true. */
  readonly numerics?: boolean | undefined;
}

export interface Diagnosis {
  readonly verification: Verification;
  /** Most important first; empty when nothing differs. */
  readonly findings: readonly Finding[];
  readonly numerics: Numerics | undefined;
}

/**
 * Compares as `verify` does and explains what differs.
 *
 * @throws what `verify` throws, except for files in the wrong order, which are a finding
 */
export async function diagnose(
  trainingFile: ModelFile,
  deployFile: ModelFile,
  options: DiagnoseOptions = {},
): Promise<Diagnosis> {
  const given = withGoldenInput(trainingFile, options);
  const task: TaskOptions = { signal: options.signal, onProgress: options.onProgress };
  const { verification, findings } = await findCauses(trainingFile, deployFile, given, {
    measureEffects: (verified, groups, faults) =>
      measureEffects(verified, groups, faults, given, task),
    outputFindings: (verified) => outputFindings(verified, given, task),
  });
  const numerics =
    options.numerics === false ? undefined : await allNumerics(verification, given, task);
  return { verification, findings, numerics };
}

/** Where the golden input can be fed to the model, all runs are made with it. */
function withGoldenInput(training: ModelFile, options: DiagnoseOptions): DiagnoseOptions {
  const golden = options.golden?.input.dtype === "float32" ? options.golden.input : undefined;
  return golden && fitsModel(training, golden) ? { ...options, input: golden } : options;
}

/** A golden input with its channels last is for the golden comparison alone. */
function fitsModel(file: ModelFile, input: VerifyOptions["input"]): boolean {
  const declared = knownModel(file)?.graph.inputs[0]?.shape;
  if (!declared || !input) return true;
  return (
    declared.length === input.shape.length &&
    declared.every((dim, axis) => typeof dim !== "number" || dim === input.shape[axis])
  );
}

async function outputFindings(
  { training, deploy }: Verification,
  { golden, runtime }: DiagnoseOptions,
  task: TaskOptions,
): Promise<Finding[]> {
  const expected = knownModel(training.file);
  if (!golden || !runtime || !expected) return [];
  return await goldenFindings(expected, knownModel(deploy.file), golden, await runtime(), task);
}

/** Effects measured one by one; more would cost a run each for little. */
const MAX_EFFECTS = 12;

async function measureEffects(
  { training, weights }: Verification,
  groups: readonly (readonly BlockFault[])[],
  faults: readonly BlockFault[],
  options: DiagnoseOptions,
  task: TaskOptions,
): Promise<Finding["effect"][]> {
  if (groups.length === 0 || !options.runtime) return [];
  const exact = await exactDeploy(training.file);
  if (!exact) return [];
  const inputs = chooseInputs({ training: exact.model, deploy: exact.model }, options);
  const meter = await createEffectMeter(exact, await options.runtime(), inputs, task);
  const certificates = new Map(weights.blocks.map((block) => [block.name, block]));
  const effects: Finding["effect"][] = [];
  for (const group of groups.slice(0, MAX_EFFECTS)) {
    const kernels = new Map<string, NonNullable<BlockFault["faulty"]>>();
    for (const fault of group) {
      const { pair } = certificates.get(fault.block)!;
      const alone = faults.filter((other) => other.block === fault.block).length === 1;
      // A block's only fault is what the deploy file holds.
      const kernel = fault.faulty ?? (alone ? pair.found : undefined);
      if (kernel) kernels.set(pair.expected.weightName, kernel);
    }
    const complete = kernels.size === new Set(group.map((fault) => fault.block)).size;
    effects.push(complete ? await meter.measure(kernels, new Map()) : undefined);
  }
  return effects;
}

async function allNumerics(
  verification: Verification,
  options: DiagnoseOptions,
  task: TaskOptions,
): Promise<Numerics> {
  const weights = await weightNumerics(verification, task);
  const model: Model | undefined = knownModel(verification.training.file);
  const canRun =
    model !== undefined && options.runtime !== undefined && verification.whole !== undefined;
  const growth = canRun
    ? await errorGrowth(
        model,
        await options.runtime!(),
        chooseInputs({ training: model, deploy: model }, options),
        task,
      )
    : [];
  return { ...weights, growth, matters: doesItMatter(verification) };
}
