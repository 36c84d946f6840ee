/** @file The document of `reparam diagnose --json`. See docs/json.md. */

import type { Diagnosis } from "../diagnose/diagnose.ts";
import type { NoisePoint } from "../verify/noise-floor.ts";
import type { FileFacts } from "./result.ts";

export interface DiagnosisResult {
  readonly training: FileFacts;
  readonly deploy: FileFacts;
  readonly diagnosis: Diagnosis;
  /** The error of both forms by depth, where it was asked for and both nets are known. */
  readonly noise?: readonly NoisePoint[] | undefined;
}

/** Where a cause is described, relative to the repository. */
export function causeAnchor(cause: string): string {
  return `docs/causes.md#${cause}`;
}

export function diagnosisJson({ training, deploy, diagnosis }: DiagnosisResult): object {
  const { verification, findings, numerics } = diagnosis;
  const { verdict, weights } = verification;
  return {
    schema: "reparam.diagnose/1",
    training,
    deploy,
    verdict,
    maxOmega: weights.maxOmega,
    blocks: {
      total: weights.blocks.length,
      differing: weights.blocks
        .filter((block) => block.status === "different" || block.status === "lower")
        .map((block) => block.name),
    },
    findings: findings.map((finding) => ({
      ...finding,
      effect: finding.effect
        ? { ...finding.effect, top1Agreement: finding.effect.top1Agreement ?? null }
        : null,
      anchor: causeAnchor(finding.cause),
    })),
    numerics: numerics ? { ...numerics, matters: numerics.matters ?? null } : null,
  };
}
