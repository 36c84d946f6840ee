/** @file A hypothesis about a block: one or two faults, each at a place, and what it makes of every part. */

import type { FileCauseId } from "./file-causes.ts";
import { innerKind, innerParts } from "./inner-parts.ts";
import { causeOf, type Variants } from "./variants.ts";

/** Where a fault sits: one branch, all of the block's parts, the steps after the sum, or the finished kernel. */
export type Scope = number | "all" | "tail" | "output";

export interface Fault {
  readonly kind: string;
  readonly scope: Scope;
  /** With `bn-of`: the two branches whose batch norms are exchanged. */
  readonly exchanged?: readonly [number, number];
}

export type Hypothesis = readonly Fault[];

/** Kinds of branch `j` under the hypothesis. */
export function branchKinds(hypothesis: Hypothesis, j: number, variants: Variants): string[] {
  const kinds: string[] = [];
  for (const { kind, scope, exchanged } of hypothesis) {
    if (exchanged) {
      if (exchanged[0] === j) kinds.push(`bn-of:${exchanged[1]}`);
      if (exchanged[1] === j) kinds.push(`bn-of:${exchanged[0]}`);
    } else if (scope === j || (scope === "all" && appliesTo(kind, j, variants))) kinds.push(kind);
  }
  return kinds;
}

/** The tail's kind under the hypothesis; `""` for none. */
export function tailKind(hypothesis: Hypothesis): string {
  return (
    hypothesis.find(({ scope, kind }) => scope === "tail" || (scope === "all" && isForTail(kind)))
      ?.kind ?? ""
  );
}

function isForTail(kind: string): boolean {
  return ["mean", "beta", "gamma", "square-root", "epsilon"].includes(kind.split(":")[0]!);
}

function appliesTo(kind: string, j: number, variants: Variants): boolean {
  const word = kind.split(":")[0]!;
  if (word === "epsilon" || word === "bn-block") return variants.hasBatchNorm(j);
  return variants.kinds(j).includes(kind);
}

/** A hypothesis in words that hold for another block too: branch labels instead of positions. */
export interface Hint {
  readonly kind: string;
  readonly label: string | undefined;
  readonly scope: Scope;
  readonly exchanged: readonly [string, string] | undefined;
}

export function toHints(hypothesis: Hypothesis, variants: Variants): Hint[] {
  const { branches } = variants.anatomy;
  return hypothesis.map(({ kind, scope, exchanged }) => ({
    kind,
    scope,
    label: typeof scope === "number" ? branches[scope]!.label : undefined,
    exchanged: exchanged && [branches[exchanged[0]]!.label, branches[exchanged[1]]!.label],
  }));
}

/** The hypothesis for another block; undefined where it has no such branches. */
export function fromHints(hints: readonly Hint[], variants: Variants): Hypothesis | undefined {
  const at = (label: string): number =>
    variants.anatomy.branches.findIndex((branch) => branch.label === label);
  const faults: Fault[] = [];
  for (const { kind, scope, label, exchanged } of hints) {
    if (exchanged) {
      const [i, j] = [at(exchanged[0]), at(exchanged[1])];
      if (i < 0 || j < 0) return undefined;
      faults.push({ kind, scope: i, exchanged: [i, j] });
    } else if (label === undefined) faults.push({ kind, scope });
    else {
      const j = at(label);
      if (j < 0) return undefined;
      faults.push({ kind, scope: j });
    }
  }
  return faults;
}

export interface NamedFault {
  readonly cause: FileCauseId;
  readonly detail: string;
  readonly evidence: Readonly<Record<string, number | string>>;
}

/** A fault as a finding says it. */
export function describeFault(
  fault: Fault,
  variants: Variants,
  epsilon: number | undefined,
): NamedFault {
  const { branches } = variants.anatomy;
  const branch = typeof fault.scope === "number" ? branches[fault.scope] : undefined;
  const inner = branch && innerKind(fault.kind);
  if (inner) {
    const part = innerParts(variants.anatomy, branch)[inner.at]!;
    return {
      cause: causeOf(inner.edit, part),
      detail: `${part.label}, inside ${branch.label}`,
      evidence: { branch: branch.label, part: part.label },
    };
  }
  const cause = causeOf(fault.kind, branch);
  const [word, ...rest] = fault.kind.split(":");
  const parameter = rest.join(":");
  const place = branch ? branch.label : fault.scope === "tail" ? "after the sum" : "";
  if (word === "epsilon") {
    const found = Number(parameter);
    return {
      cause,
      detail: `deploy used ${formatEpsilon(found)}, the model says ${formatEpsilon(epsilon ?? 0)}${place === "" || branches.length === 1 ? "" : ` (${place} only)`}`,
      evidence: {
        deployEpsilon: found,
        modelEpsilon: epsilon ?? 0,
        ...(place && branches.length > 1 ? { branch: place } : {}),
      },
    };
  }
  if (fault.exchanged) {
    const [i, j] = fault.exchanged.map((index) => branches[index]!.label);
    return {
      cause,
      detail: `${i} has the batch norm of ${j} and the other way round`,
      evidence: { branch: `${i}, ${j}` },
    };
  }
  if (word === "bn-block") {
    return {
      cause,
      detail: `from ${parameter}${place ? `, in ${place}` : ""}`,
      evidence: { otherBlock: parameter, ...(place ? { branch: place } : {}) },
    };
  }
  if (word === "shift") {
    return {
      cause,
      detail: `${place} moved by ${parameter} taps (down, right)`,
      evidence: { branch: place, shift: parameter },
    };
  }
  if (word === "times") {
    return {
      cause,
      detail: `${place} times ${parameter}`,
      evidence: { branch: place, factor: Number(parameter) },
    };
  }
  const words: Readonly<Record<string, string>> = {
    "plus-identity": "the input itself",
    "plus-average": "the average over the kernel's window",
    "flip-width": "left and right",
    "flip-height": "top and bottom",
    rotate: "both ways (turned by 180°)",
  };
  const detail = [place, words[fault.kind] ?? ""].filter((part) => part !== "").join(": ");
  return { cause, detail, evidence: place ? { branch: place } : {} };
}

function formatEpsilon(value: number): string {
  if (value === 0) return "0";
  const text = value.toExponential();
  return text.length <= 8 ? text : value.toExponential(6);
}
