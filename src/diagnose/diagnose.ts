/**
 * @file Why a deploy form is not the same function as its training form: verified first, then every difference traced to
 * a cause. Weights are read block by block; only blocks that differ cost more than the verification.
 */

import type { ModelFile } from "../convert/open.ts";
import { isReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import type { Model } from "../ir/graph.ts";
import { openSide } from "../verify/side.ts";
import { chooseInputs, type Verification, type VerifyOptions, verify } from "../verify/verify.ts";
import { explainBlocks, groupFaults } from "./block-level.ts";
import type { CauseId } from "./causes.ts";
import { createEffectMeter } from "./effect.ts";
import { finding, formFindings, prefixFindings, tensorFindings } from "./file-level.ts";
import type { BlockFault, Finding } from "./finding.ts";
import { fixOf } from "./fix-of.ts";
import { type Golden, goldenFindings } from "./golden-level.ts";
import { graphFindings } from "./graph-level.ts";
import { exactDeploy, knownModel } from "./known-model.ts";
import { doesItMatter, errorGrowth, type Numerics, weightNumerics } from "./numerics.ts";
import { openOtherSources } from "./other-sources.ts";

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
  const { verification, swapped, given } = await verifyEitherWay(trainingFile, deployFile, options);
  const findings: Finding[] = [];
  if (swapped) {
    const detail = `${trainingFile.name} is the deploy form, ${deployFile.name} the training form`;
    findings.push(finding("swapped-files", detail, []));
  }
  const task: TaskOptions = { signal: options.signal, onProgress: options.onProgress };
  const ofGraphs = await modelFindings(verification, given, task);
  const ofWeights = await weightFindings(verification, given, task);
  // Constants that only one graph needs follow from what differs in the graphs.
  const explained = ofGraphs.some(({ cause }) => !cause.startsWith("golden-"));
  const isConsequence = ({ cause, confidence }: Finding): boolean =>
    explained && QUESTIONS.has(cause) && confidence === "consistent";
  findings.push(...ofWeights.filter((candidate) => !isConsequence(candidate)), ...ofGraphs);
  const numerics =
    options.numerics === false ? undefined : await allNumerics(verification, given, task);
  return { verification, findings: sorted(withWholeEffect(findings, verification)), numerics };
}

interface Verified {
  readonly verification: Verification;
  /** Whether the files were given in the wrong order. */
  readonly swapped: boolean;
  readonly given: DiagnoseOptions;
}

async function verifyEitherWay(
  training: ModelFile,
  deploy: ModelFile,
  options: DiagnoseOptions,
): Promise<Verified> {
  const golden = options.golden?.input.dtype === "float32" ? options.golden.input : undefined;
  const input = golden && fitsModel(training, golden) ? golden : options.input;
  const given = { ...options, input };
  try {
    return { verification: await verify(training, deploy, given), swapped: false, given };
  } catch (error) {
    if (!isReparamError(error, "usage")) throw error;
    const forms = [(await openSide(training)).form, (await openSide(deploy)).form];
    if (forms.join() !== "deploy,training") throw error;
    return { verification: await verify(deploy, training, given), swapped: true, given };
  }
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

/** What files and weights say. */
async function weightFindings(
  verification: Verification,
  options: DiagnoseOptions,
  task: TaskOptions,
): Promise<Finding[]> {
  const { training, deploy, weights, verdict } = verification;
  const sources = await openOtherSources(training, deploy, weights, task);
  const faults = await explainBlocks(training, weights, sources, task);
  const groups = groupFaults(faults);
  const effects = await measureEffects(verification, groups, faults, options, task);
  const explained = new Set(faults.map((fault) => fault.block));
  const tensors = await tensorFindings(training, deploy, weights, sources, explained);
  const differs = verdict.word === "DIFFERENT" || verdict.word === "UNDECIDED";
  return [
    ...formFindings(training, deploy),
    // Many converters strip the prefix on purpose: worth a word only where something is wrong.
    ...(differs ? prefixFindings(training, deploy) : []),
    ...groups.map((group, i) => fromGroup(group, effects[i], fixOf(group, training, weights))),
    // What equal outputs explain (one side folded more) is no fault.
    ...(differs ? tensors : tensors.filter(({ cause }) => !QUESTIONS.has(cause))),
  ];
}

const QUESTIONS: ReadonlySet<CauseId> = new Set<CauseId>([
  "unmatched",
  "tensors-missing",
  "tensors-surplus",
]);

/** What graphs and recorded outputs say. */
async function modelFindings(
  { training, deploy }: Verification,
  options: DiagnoseOptions,
  task: TaskOptions,
): Promise<Finding[]> {
  const expected = knownModel(training.file);
  const found = knownModel(deploy.file);
  const findings: Finding[] = [];
  const bothInferred = training.file.kind === "checkpoint" && deploy.file.kind === "checkpoint";
  if (expected && found && !bothInferred) findings.push(...(await graphFindings(expected, found)));
  if (options.golden && options.runtime && expected) {
    const runtime = await options.runtime();
    findings.push(...(await goldenFindings(expected, found, options.golden, runtime, task)));
  }
  return findings;
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

/** The only finding's effect is the whole difference, where it was not measured by itself. */
function withWholeEffect(
  findings: readonly Finding[],
  { whole }: Verification,
): readonly Finding[] {
  const [only] = findings;
  const output = whole?.outputs[0];
  if (!only || findings.length > 1 || only.effect || !output || only.cause.startsWith("golden-")) {
    return findings;
  }
  const { relativeL2, maxAbsError } = output.metrics;
  const { decisions } = output;
  const top1Agreement = decisions && decisions.agreeing / decisions.total;
  return [{ ...only, effect: { relativeL2, maxAbsError, top1Agreement } }];
}

/** Details of single blocks kept where they differ. */
const MAX_DETAILS = 8;

function fromGroup(group: readonly BlockFault[], effect: Finding["effect"], fix: string): Finding {
  const [first] = group as readonly [BlockFault, ...BlockFault[]];
  const details = [...new Set(group.map((fault) => fault.detail))];
  return {
    cause: first.cause,
    detail: first.detail,
    blocks: [...new Set(group.map((fault) => fault.block))],
    confidence: group.every((fault) => fault.confidence === "proved") ? "proved" : "consistent",
    evidence:
      details.length > 1
        ? { ...first.evidence, details: details.slice(0, MAX_DETAILS) }
        : first.evidence,
    effect,
    fix,
  };
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

/** Facts about whole files first, then proved causes before consistent ones, then by how many places they touch. */
function sorted(findings: readonly Finding[]): Finding[] {
  const rank = ({ cause, confidence }: Finding): number => {
    if (WHOLE_FILE.has(cause)) return 0;
    if (cause === "unknown" || cause === "unmatched") return 3;
    return confidence === "proved" ? 1 : 2;
  };
  const effect = (candidate: Finding): number => candidate.effect?.relativeL2 ?? 0;
  return [...findings].sort(
    (a, b) => rank(a) - rank(b) || effect(b) - effect(a) || b.blocks.length - a.blocks.length,
  );
}

const WHOLE_FILE: ReadonlySet<CauseId> = new Set<CauseId>([
  "swapped-files",
  "deploy-not-converted",
  "half-converted",
  "training-already-deployed",
]);
