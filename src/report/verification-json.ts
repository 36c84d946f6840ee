/** @file The document of `reparam verify --json`, and the part of it that `convert` shares. See docs/json.md. */

import type { PartDeviation } from "../verify/deviation.ts";
import type { Verification } from "../verify/verify.ts";
import type { BlockCertificate } from "../verify/weights.ts";
import type { VerificationResult } from "./result.ts";

export function verificationJson(result: VerificationResult): object {
  return {
    schema: "reparam.verify/1",
    training: result.training,
    deploy: result.deploy,
    ...verificationPart(result.verification),
    golden: result.golden ?? null,
  };
}

/** `verdict`, `weights`, `whole`, `wholeSkipped` and `notes`. */
export function verificationPart(verification: Verification): object {
  const { verdict, weights, whole, wholeSkipped, training, deploy } = verification;
  const { equal, different, missing, surplus } = weights.others;
  return {
    verdict,
    weights: {
      maxOmega: weights.maxOmega,
      maxOmegaOverK: weights.maxOmegaOverK,
      blocks: weights.blocks.map(blockJson),
      others: {
        equal: equal.length,
        different: different.map(({ name, deployName, deviation, lowered }) => ({
          name,
          deployName,
          ...partJson(deviation),
          lowered: lowered ?? null,
        })),
        missing,
        surplus,
      },
    },
    whole: whole ?? null,
    wholeSkipped: wholeSkipped ?? null,
    notes: [...new Set([...training.notes, ...deploy.notes])],
  };
}

function blockJson(block: BlockCertificate): object {
  return {
    name: block.name,
    deployName: block.deployName ?? null,
    pairedBy: block.pairedBy,
    status: block.status,
    k: block.k,
    unit: block.unit,
    weight: block.deviation ? partJson(block.deviation.weight) : null,
    bias: block.deviation ? partJson(block.deviation.bias) : null,
    lowered: block.lowered ?? null,
  };
}

function partJson({ omega, maxAbsError, relativeL2, worst }: PartDeviation): object {
  return { omega, maxAbsError, relativeL2, worst: worst ?? null };
}
