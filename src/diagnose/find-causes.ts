/**
 * @file What files, weights and graphs say about why two forms differ: nothing is run. What running the networks adds
 * is passed in, so that a program without it (the page) does not carry it.
 */

import type { ModelFile } from "../convert/open.ts";
import { isReparamError } from "../core/errors.ts";
import type { TaskOptions } from "../core/task.ts";
import { openSide } from "../verify/side.ts";
import { type Verification, type VerifyOptions, verify } from "../verify/verify.ts";
import { explainBlocks, groupFaults } from "./block-level.ts";
import type { CauseId } from "./causes.ts";
import { finding, formFindings, prefixFindings, tensorFindings } from "./file-level.ts";
import type { BlockFault, Finding } from "./finding.ts";
import { fixOf } from "./fix-of.ts";
import { graphFindings } from "./graph-level.ts";
import { knownModel } from "./known-model.ts";
import { openOtherSources } from "./other-sources.ts";

/** What only running the networks tells. */
export interface Experiments {
  /** What each group of faults does at the output. */
  measureEffects(
    verification: Verification,
    groups: readonly (readonly BlockFault[])[],
    faults: readonly BlockFault[],
  ): Promise<readonly Finding["effect"][]>;
  /** What outputs say. */
  outputFindings(verification: Verification): Promise<readonly Finding[]>;
}

export interface FoundCauses {
  readonly verification: Verification;
  /** Most important first; empty when nothing differs. */
  readonly findings: readonly Finding[];
}

/**
 * Compares as `verify` does and names the causes of what differs.
 *
 * @throws what `verify` throws, except for files in the wrong order, which are a finding
 */
export async function findCauses(
  trainingFile: ModelFile,
  deployFile: ModelFile,
  options: VerifyOptions,
  experiments?: Experiments,
): Promise<FoundCauses> {
  const { verification, swapped } = await verifyEitherWay(trainingFile, deployFile, options);
  const findings: Finding[] = [];
  if (swapped) {
    const detail = `${trainingFile.name} is the deploy form, ${deployFile.name} the training form`;
    findings.push(finding("swapped-files", detail, []));
  }
  const task: TaskOptions = { signal: options.signal, onProgress: options.onProgress };
  const ofGraphs = await modelFindings(verification);
  const ofOutputs = (await experiments?.outputFindings(verification)) ?? [];
  const ofWeights = await weightFindings(verification, task, experiments);
  // Constants that only one graph needs follow from what differs in the graphs.
  const isConsequence = ({ cause, confidence }: Finding): boolean =>
    ofGraphs.length > 0 && QUESTIONS.has(cause) && confidence === "consistent";
  findings.push(...ofWeights.filter((candidate) => !isConsequence(candidate)));
  findings.push(...ofGraphs, ...ofOutputs);
  return { verification, findings: sorted(withWholeEffect(findings, verification)) };
}

async function verifyEitherWay(
  training: ModelFile,
  deploy: ModelFile,
  options: VerifyOptions,
): Promise<{ readonly verification: Verification; readonly swapped: boolean }> {
  try {
    return { verification: await verify(training, deploy, options), swapped: false };
  } catch (error) {
    if (!isReparamError(error, "usage")) throw error;
    const forms = [(await openSide(training)).form, (await openSide(deploy)).form];
    if (forms.join() !== "deploy,training") throw error;
    return { verification: await verify(deploy, training, options), swapped: true };
  }
}

/** What files and weights say. */
async function weightFindings(
  verification: Verification,
  task: TaskOptions,
  experiments: Experiments | undefined,
): Promise<Finding[]> {
  const { training, deploy, weights, verdict } = verification;
  const sources = await openOtherSources(training, deploy, weights, task);
  const faults = await explainBlocks(training, weights, sources, task);
  const groups = groupFaults(faults);
  const effects = (await experiments?.measureEffects(verification, groups, faults)) ?? [];
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

/** What graphs say. */
async function modelFindings({ training, deploy }: Verification): Promise<Finding[]> {
  const expected = knownModel(training.file);
  const found = knownModel(deploy.file);
  const bothInferred = training.file.kind === "checkpoint" && deploy.file.kind === "checkpoint";
  return expected && found && !bothInferred ? await graphFindings(expected, found) : [];
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
