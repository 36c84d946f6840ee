/** @file What the two files say before any block is looked at: form, prefix, coverage, shapes, tensors outside blocks. */

import { elementCount, formatShape, type LazyTensor, readFloat64 } from "../core/tensor.ts";
import type { Side } from "../verify/side.ts";
import type { WeightCertificate } from "../verify/weights.ts";
import { FILE_CAUSES, type FileCauseId } from "./file-causes.ts";
import type { Confidence, Evidence, Finding } from "./finding.ts";
import type { OtherSources } from "./other-sources.ts";

/** Names listed in a finding; the rest is counted. */
const MAX_NAMES = 12;

export function finding(
  cause: FileCauseId,
  detail: string,
  blocks: readonly string[],
  evidence: Evidence = {},
  confidence: Confidence = "proved",
): Finding {
  return {
    cause,
    detail,
    blocks,
    confidence,
    evidence,
    effect: undefined,
    fix: FILE_CAUSES[cause].fix,
  };
}

/** What form the files are in. */
export function formFindings(training: Side, deploy: Side): Finding[] {
  const findings: Finding[] = [];
  const names = { training: training.file.name, deploy: deploy.file.name };
  if (training.form === "deploy" && training.fused.length === 0) {
    findings.push(
      finding("training-already-deployed", names.training, [], { file: names.training }),
    );
  }
  if (deploy.form === "training" && training.form !== "deploy") {
    findings.push(finding("deploy-not-converted", names.deploy, [], { file: names.deploy }));
  }
  if (deploy.form === "mixed") {
    const blocks = deploy.fused.map((kernel) => kernel.name);
    findings.push(finding("half-converted", names.deploy, blocks, { file: names.deploy }));
  }
  return findings;
}

export function prefixFindings(training: Side, deploy: Side): Finding[] {
  const [a, b] = [training.file, deploy.file];
  if (a.kind !== "checkpoint" || b.kind !== "checkpoint" || a.prefix === b.prefix) return [];
  return [
    finding("prefix-differs", `"${a.prefix}" in ${a.name}, "${b.prefix}" in ${b.name}`, [], {
      trainingPrefix: a.prefix,
      deployPrefix: b.prefix,
    }),
  ];
}

/** Names, shapes and contents of what is no fused block. `explained` are blocks with a fault that proves their pair. */
export async function tensorFindings(
  training: Side,
  deploy: Side,
  certificate: WeightCertificate,
  sources: OtherSources,
  explained: ReadonlySet<string>,
): Promise<Finding[]> {
  const { others } = certificate;
  const blocks = certificate.blocks.filter((block) => !explained.has(block.name));
  const matched = certificate.blocks
    .filter((block) => explained.has(block.name))
    .flatMap(({ pair }) => [pair.found?.weightName, pair.found?.biasName]);
  const findings: Finding[] = [];
  const reshaped = [
    ...others.missing.filter((name) => deploy.tensors.has(name)),
    ...blocks
      .filter((block) => block.status === "unmatched")
      .map(({ pair }) => pair.expected.weightName)
      .filter((name) => deploy.tensors.has(name)),
  ];
  if (reshaped.length > 0) {
    const words = reshaped.map((name) => {
      const expected = training.tensors.get(name)?.shape ?? shapeOfBlock(blocks, name);
      return `${name} ${formatShape(deploy.tensors.get(name)!.shape)}, expected ${formatShape(expected ?? [])}`;
    });
    findings.push(
      finding("shape-differs", words[0]!, reshaped, { shapes: words.slice(0, MAX_NAMES) }),
    );
  }
  const fromElsewhere = new Set([...sources.tensorsOf.values()].flat());
  for (const [path, names] of sources.tensorsOf) {
    findings.push(finding("other-state-dict", `tensors of "${path}"`, names, { stateDict: path }));
  }
  findings.push(...(await differenceFindings(deploy, others, fromElsewhere)));
  const missing = others.missing.filter((name) => !reshaped.includes(name));
  if (missing.length > 0) {
    findings.push(finding("tensors-missing", "", missing, {}, certainty(training, deploy)));
  }
  const known = new Set(reshaped);
  const surplus = others.surplus.filter((name) => !known.has(name) && !matched.includes(name));
  if (surplus.length > 0) {
    findings.push(finding("tensors-surplus", "", surplus, {}, certainty(training, deploy)));
  }
  const unmatched = blocks.filter(
    ({ status, pair }) => status === "unmatched" && !known.has(pair.expected.weightName),
  );
  if (unmatched.length > 0) {
    const names = unmatched.map((block) => block.name);
    findings.push(finding("unmatched", "", names, {}, "consistent"));
  }
  return findings;
}

/** In graphs, tensors may have been folded into others; in two checkpoints a missing name is a fact. */
function certainty(training: Side, deploy: Side): Confidence {
  return training.file.kind === "checkpoint" && deploy.file.kind === "checkpoint"
    ? "proved"
    : "consistent";
}

function shapeOfBlock(
  blocks: WeightCertificate["blocks"],
  weightName: string,
): readonly number[] | undefined {
  return blocks.find(({ pair }) => pair.expected.weightName === weightName)?.pair.expected.shape;
}

async function differenceFindings(
  deploy: Side,
  others: WeightCertificate["others"],
  explained: ReadonlySet<string>,
): Promise<Finding[]> {
  const groups = new Map<string, string[]>();
  const put = (key: string, name: string): void => {
    const group = groups.get(key);
    if (group) group.push(name);
    else groups.set(key, [name]);
  };
  const distances = new Map<string, number>();
  for (const { name, deployName, deviation, lowered } of others.different) {
    if (explained.has(name)) continue;
    distances.set(name, deviation.relativeL2);
    if (lowered) put(`lower-precision|${lowered}`, name);
    else if (await isInitialStatistic(deployName, deploy.tensors.get(deployName)))
      put("statistics-not-copied|", name);
    else put("tensor-not-copied|", name);
  }
  return [...groups].map(([key, names]) => {
    const [cause, detail] = key.split("|") as [FileCauseId, string];
    const evidence: Evidence =
      cause === "lower-precision"
        ? { format: detail }
        : { relativeDistance: names.slice(0, MAX_NAMES).map((name) => distances.get(name)!) };
    return finding(cause, detail, names, evidence);
  });
}

/** A running mean of zeros or a running variance of ones: never touched by training. */
async function isInitialStatistic(name: string, tensor: LazyTensor | undefined): Promise<boolean> {
  const initial = /running_mean$/.test(name) ? 0 : /running_var$/.test(name) ? 1 : undefined;
  if (initial === undefined || !tensor || elementCount(tensor.shape) === 0) return false;
  return (await readFloat64(tensor)).every((value) => value === initial);
}
