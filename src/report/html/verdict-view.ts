/** @file A verification as plain data and plain words: what the page is sent by its worker and the report is drawn from. */

import type { Verdict, VerdictWord } from "../../verify/verdict.ts";
import type { Verification } from "../../verify/verify.ts";
import type { BlockCertificate, BlockStatus } from "../../verify/weights.ts";
import { formatExponents } from "./format.ts";

/** One block's bar. */
export interface BlockBar {
  readonly name: string;
  readonly deployName: string | undefined;
  readonly status: BlockStatus;
  /** Of weight or bias, whichever is worse relative to its k; undefined without a counterpart. */
  readonly omega: number | undefined;
  readonly k: number;
  /** ω/k */
  readonly ratio: number | undefined;
  /** The narrower format, if that explains the difference. */
  readonly lowered: string | undefined;
}

export interface OutputRow {
  readonly name: string;
  readonly shape: readonly number[];
  readonly conversionError: number;
  readonly noiseMax: number;
  readonly ratio: number;
  readonly maxAbsError: number;
  readonly snrDb: number;
  readonly noiseFloor: number;
  readonly rho: number;
  readonly decisions: { readonly agreeing: number; readonly total: number } | undefined;
}

export interface VerdictView {
  readonly word: VerdictWord;
  readonly tone: "good" | "bad" | "unsure";
  /** One sentence for people who have never heard of ω. */
  readonly headline: string;
  readonly meaning: string;
  readonly reasons: readonly string[];
  readonly trainingName: string;
  readonly deployName: string;
  readonly blocks: readonly BlockBar[];
  readonly others: {
    readonly equal: number;
    readonly different: readonly { readonly name: string; readonly omega: number }[];
    readonly missing: readonly string[];
    readonly surplus: readonly string[];
  };
  readonly runtime: string | undefined;
  readonly replicas: number | undefined;
  readonly outputs: readonly OutputRow[];
  /** Why outputs were not compared, if they were not. */
  readonly outputsSkipped: string | undefined;
  readonly notes: readonly string[];
}

/** The parts of a verification that can be sent, drawn and stored. */
export function verdictView(verification: Verification): VerdictView {
  const { verdict, weights, whole, training, deploy } = verification;
  const { others } = weights;
  return {
    word: verdict.word,
    ...PLAIN_WORDS[verdict.word](verdict),
    reasons: verdict.reasons.map(formatExponents),
    trainingName: training.file.name,
    deployName: deploy.file.name,
    blocks: weights.blocks.map(blockBar),
    others: {
      equal: others.equal.length,
      different: others.different.map(({ name, deviation }) => ({ name, omega: deviation.omega })),
      missing: others.missing,
      surplus: others.surplus,
    },
    runtime: whole?.runtime,
    replicas: whole?.replicas,
    outputs: (whole?.outputs ?? []).map((output) => ({
      name: output.name,
      shape: output.shape,
      conversionError: output.conversionError,
      noiseMax: output.noiseMax,
      ratio: output.ratio,
      maxAbsError: output.metrics.maxAbsError,
      snrDb: output.metrics.snrDb,
      noiseFloor: output.noiseFloor,
      rho: output.rho,
      decisions: output.decisions && {
        agreeing: output.decisions.agreeing,
        total: output.decisions.total,
      },
    })),
    outputsSkipped: verification.wholeSkipped,
    // That a deploy form is one is no news.
    notes: [...new Set([...training.notes, ...(deploy.form === "deploy" ? [] : deploy.notes)])],
  };
}

function blockBar({ name, deployName, status, k, deviation, lowered }: BlockCertificate): BlockBar {
  const base = { name, deployName, status, lowered: lowered?.format };
  const parts = (["weight", "bias"] as const).map((part) => ({
    omega: deviation?.[part].omega ?? 0,
    k: Math.max(k[part], 1),
  }));
  const worst = parts.reduce((a, b) => (b.omega / b.k > a.omega / a.k ? b : a));
  return deviation && status !== "unmatched"
    ? { ...base, omega: worst.omega, k: worst.k, ratio: worst.omega / worst.k }
    : { ...base, omega: undefined, k: worst.k, ratio: undefined };
}

type PlainWords = Pick<VerdictView, "tone" | "headline" | "meaning">;

const PLAIN_WORDS: Readonly<Record<VerdictWord, (verdict: Verdict) => PlainWords>> = {
  "EXACT-FOLD": () => ({
    tone: "good",
    headline: "The deploy model is the same function, folded exactly.",
    meaning:
      "Every weight is the exact fused value, rounded once. No converter can do better in this format.",
  }),
  "EQUAL-UP-TO-ROUNDING": () => ({
    tone: "good",
    headline: "The deploy model is the same function, up to rounding.",
    meaning:
      "Nothing differs by more than the roundings that an ordinary fuse makes. Small differences between the outputs of the two forms are float noise, not a mistake.",
  }),
  "LOWER-PRECISION": ({ formats }) => ({
    tone: "unsure",
    headline: `The deploy model is the same function, stored as ${formats.join(" and ")}.`,
    meaning:
      "Every weight is the exact fused value rounded to the narrower format. Whether that is accurate enough depends on the task.",
  }),
  DIFFERENT: () => ({
    tone: "bad",
    headline: "The deploy model is a different function.",
    meaning:
      "At least one weight lies further from the exact fused value than rounding can explain. The blocks below say where.",
  }),
  UNDECIDED: () => ({
    tone: "unsure",
    headline: "These files do not say whether the two are the same function.",
    meaning: "Some weights could not be brought together. Nothing that could be compared differs.",
  }),
};
