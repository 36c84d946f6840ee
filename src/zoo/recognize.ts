/**
 * @file Which blocks a checkpoint holds, by its keys. Nothing is guessed: where several families fit and would give
 * different results, the caller has to say which; a prefix that fits a family only in part is reported.
 *
 * Between families that claim the same keys, these decide, in this order: being asked for; explaining all that the
 * others explain and more; prefixes that are shaped like the family's nets; meaning the same anyway; the tensor names
 * of the deploy file, where there is one.
 */

import { ReparamError } from "../core/errors.ts";
import type { StateDict } from "../core/tensor.ts";
import { describeChoice } from "./describe-choice.ts";
import { FAMILIES } from "./families/index.ts";
import type { FamilyRow } from "./family.ts";
import {
  type BindingCache,
  type BlockMatch,
  type FamilyFit,
  findBlocks,
  type PartFit,
} from "./find-blocks.ts";
import { indexKeys, type KeyIndex } from "./key-index.ts";
import { matchPrefixPattern } from "./key-template.ts";

export type { BlockMatch, PartFit } from "./find-blocks.ts";

export interface RecognizeOptions {
  /**
   * Only this family (a row's or recipe's `name`). `name,pattern=other` says it per prefix: `qarepvgg,rep3=qarepvgg-v2`
   * takes the second family at prefixes that end in `rep3` (`#` stands for digits, `*` for one part).
   */
  readonly family?: string | undefined;
  /** More rows. A recipe goes before a built-in row that claims the same keys. */
  readonly recipes?: readonly FamilyRow[] | undefined;
  /** Only blocks at or below this prefix. */
  readonly prefix?: string | undefined;
  /** The BatchNorm epsilon that will be used: families that differ in nothing else are then the same. */
  readonly epsilon?: number | undefined;
  /**
   * Names in a file that holds the deploy form. They are evidence: where several families fit, one that would have
   * given other names did not make that file.
   */
  readonly deployKeys?: ReadonlySet<string> | undefined;
}

export interface Recognition {
  /** In file order. */
  readonly matches: readonly BlockMatch[];
  /** Keys of no block: they pass through as they are. */
  readonly unmatched: readonly string[];
  /** Keys that the origin's deploy form deletes (auxiliary heads). */
  readonly dropped: readonly string[];
  /** What looks like a block and is not one, with what is missing or too much. */
  readonly partFits: readonly PartFit[];
  /** Families that fit as well as others and were chosen for their names in `deployKeys`. */
  readonly chosenByDeployKeys: readonly string[];
}

/** Throws `ambiguous` where several families fit and differ, `usage` for an unknown `family`. */
export function recognize(state: StateDict, options: RecognizeOptions = {}): Recognition {
  const { prefix } = options;
  const below = prefix ? `${prefix.replace(/\.$/, "")}.` : "";
  const index = indexKeys([...state.tensors.keys()].filter((key) => key.startsWith(below)));
  const recipes = options.recipes ?? [];
  const asked = parseFamilies(options.family);
  const cache: BindingCache = new Map();
  const fits = chooseRows(recipes, asked).map((family) =>
    findBlocks(family, index, cache, (at) => isConsidered(family, at, asked)),
  );
  const chosenByDeployKeys: string[] = [];
  const chosen = resolve(fits, recipes, state, options, index, chosenByDeployKeys);
  const matches = withoutDoubles(chosen.flatMap((fit) => fit.matches)).sort(
    (a, b) => firstPosition(a, index) - firstPosition(b, index),
  );
  const owned = new Set(matches.flatMap((m) => [...m.keys, ...(m.deployKeys.stale ?? [])]));
  const dropped = index.keys.filter(
    (key) =>
      !owned.has(key) && chosen.some((fit) => fit.matches.length > 0 && isDropped(key, fit.family)),
  );
  for (const key of dropped) owned.add(key);
  const speaks = (fit: FamilyFit, kind: string) =>
    asked.length > 0 ||
    recipes.includes(fit.family) ||
    matches.some((match) => match.family === fit.family) ||
    fit.family.blocks.some((block) => block.kind === kind && block.deploy.distinctive !== false);
  // A family with everyday key names is not worth a word in a file that has none of its blocks.
  const partFits = fits
    .flatMap((fit) => fit.partFits.filter(({ kind }) => speaks(fit, kind)))
    .filter((fit) => !matches.some((match) => isInside(fit.prefix, match.prefix)));
  const unmatched = index.keys.filter((key) => !owned.has(key));
  return { matches, unmatched, dropped, partFits, chosenByDeployKeys };
}

interface AskedFamily {
  /** Undefined: everywhere else. */
  readonly pattern: string | undefined;
  readonly name: string;
}

function parseFamilies(text: string | undefined): readonly AskedFamily[] {
  if (text !== undefined && text.replaceAll(",", "").trim() === "") {
    throw new ReparamError("usage", {
      where: "family",
      what: `${JSON.stringify(text)} names no family`,
      fix: "Leave it out to take what the keys say",
    });
  }
  return (text ?? "")
    .split(",")
    .filter((entry) => entry !== "")
    .map((entry) => {
      const at = entry.lastIndexOf("=");
      return at < 0
        ? { pattern: undefined, name: entry.trim() }
        : { pattern: entry.slice(0, at).trim(), name: entry.slice(at + 1).trim() };
    });
}

function chooseRows(
  recipes: readonly FamilyRow[],
  asked: readonly AskedFamily[],
): readonly FamilyRow[] {
  const rows = [...recipes, ...FAMILIES];
  for (const { name } of asked) {
    if (rows.some((row) => row.name === name)) continue;
    throw new ReparamError("usage", {
      where: "family",
      what: `there is no family "${name}", expected one of ${rows.map((r) => r.name).join(", ")}`,
    });
  }
  if (!asked.some(({ pattern }) => pattern === undefined)) return rows;
  return rows.filter((row) => asked.some(({ name }) => name === row.name));
}

/** Whether a family may be looked for at a prefix. */
function isConsidered(family: FamilyRow, prefix: string, asked: readonly AskedFamily[]): boolean {
  const here = asked.filter(({ pattern }) => pattern && matchPrefixPattern(pattern, prefix) > 0);
  if (here.length > 0) return here.some(({ name }) => name === family.name);
  const everywhere = asked.filter(({ pattern }) => pattern === undefined);
  if (everywhere.length > 0) return everywhere.some(({ name }) => name === family.name);
  const { within } = family;
  return !within || within.some((pattern) => matchPrefixPattern(pattern, prefix) > 0);
}

/** A companion gives way to any other block that has its keys. */
function withoutDoubles(matches: readonly BlockMatch[]): BlockMatch[] {
  const taken = new Set<string>();
  const kept: BlockMatch[] = [];
  for (const companion of [false, true]) {
    for (const match of matches) {
      if ((match.block.companion ?? false) !== companion) continue;
      if (match.keys.some((key) => taken.has(key))) continue;
      for (const key of match.keys) taken.add(key);
      kept.push(match);
    }
  }
  return kept;
}

function firstPosition(match: BlockMatch, index: KeyIndex): number {
  return index.position(match.keys[0] ?? "");
}

function isDropped(key: string, family: FamilyRow): boolean {
  const parts = key.split(".");
  return (family.drops ?? []).some((pattern) => {
    const [head = ""] = pattern.split(".**");
    return pattern.endsWith(".**") ? parts.includes(head) : key === pattern;
  });
}

function isInside(inner: string, outer: string): boolean {
  return inner === outer || outer === "" || inner.startsWith(`${outer}.`);
}

/** One family's fit for every key: groups the fits that share keys and settles each group. */
function resolve(
  fits: readonly FamilyFit[],
  recipes: readonly FamilyRow[],
  state: StateDict,
  options: RecognizeOptions,
  index: KeyIndex,
  chosenByDeployKeys: string[],
): FamilyFit[] {
  const groups: FamilyFit[][] = [];
  for (const fit of fits) {
    if (fit.matches.length === 0) continue;
    const touching = groups.filter((group) =>
      group.some((other) => overlaps(other.keys, fit.keys)),
    );
    const merged = [...touching.flat(), fit];
    for (const group of touching) groups.splice(groups.indexOf(group), 1);
    groups.push(merged);
  }
  return groups.flatMap((group) =>
    settle(group, recipes, state, options, index, chosenByDeployKeys),
  );
}

function settle(
  group: readonly FamilyFit[],
  recipes: readonly FamilyRow[],
  state: StateDict,
  options: RecognizeOptions,
  index: KeyIndex,
  chosenByDeployKeys: string[],
): FamilyFit[] {
  const asked = group.filter((fit) => recipes.includes(fit.family));
  let left: readonly FamilyFit[] = asked.length > 0 ? asked : group;
  left = withoutCovered(left);
  left = bySpeakingPrefixes(left);
  const [first, ...others] = left;
  if (!first || others.length === 0) return first ? [first] : [];
  const different = others.find((other) => !meansTheSame(first, other, state, options, index));
  if (!different) return [withAlternatives(first, others)];
  // Of fused weights alone the family does not matter.
  if (left.every((fit) => fit.matches.every((match) => match.form === "deploy"))) {
    return [withAlternatives(first, others)];
  }
  const told = left.filter((fit) => hasDeployKeys(fit, options.deployKeys));
  if (told.length > 0 && told.length < left.length) {
    const settled = settle(told, recipes, state, { ...options, deployKeys: undefined }, index, []);
    chosenByDeployKeys.push(...settled.map((fit) => fit.family.name));
    return settled;
  }
  const meanings = left.filter(
    (fit, i) => !left.slice(0, i).some((other) => meansTheSame(other, fit, state, options, index)),
  );
  const names = meanings.map((fit) => fit.family.name);
  // Where nothing but the epsilon is in question, saying it is enough.
  const known = { ...options, epsilon: options.epsilon ?? first.family.epsilon };
  const epsilonDecides = meanings.every((fit) => meansTheSame(first, fit, state, known, index));
  const [one, other] = names;
  const blocks = first.matches.filter((match) => match.form !== "deploy");
  const hints = [
    `Say which with --family ${names.join(" or --family ")}`,
    ...(epsilonDecides ? ["or the epsilon with --eps"] : []),
    ...(!epsilonDecides && blocks.length > 1
      ? [`block by block as in --family ${one},${blocks.at(-1)?.prefix}=${other}`]
      : []),
  ];
  throw new ReparamError("ambiguous", {
    where: first.matches[0]?.prefix || "checkpoint",
    what: `the keys fit ${describeChoice(meanings).join(" and ")}`,
    fix: hints.join(", "),
  });
}

/** Without the fits whose keys are a proper subset of another's. */
function withoutCovered(fits: readonly FamilyFit[]): readonly FamilyFit[] {
  return fits.filter((fit) => {
    const { keys } = fit;
    return !fits.some((other) => other.keys.size > keys.size && isSubset(keys, other.keys));
  });
}

function bySpeakingPrefixes(fits: readonly FamilyFit[]): readonly FamilyFit[] {
  const scores = fits.map((fit) => {
    let score = 0;
    for (const match of fit.matches) {
      const patterns = fit.family.prefixes ?? [];
      score += Math.max(0, ...patterns.map((p) => matchPrefixPattern(p, match.prefix)));
    }
    return score;
  });
  const best = Math.max(0, ...scores);
  return fits.filter((_, i) => scores[i] === best);
}

/** Whether every kernel that the family would write is there. */
function hasDeployKeys(fit: FamilyFit, names: ReadonlySet<string> | undefined): boolean {
  return (
    names !== undefined &&
    fit.matches.every(
      ({ deployKeys }) => names.has(deployKeys.weight) && names.has(deployKeys.bias),
    )
  );
}

function meansTheSame(
  a: FamilyFit,
  b: FamilyFit,
  state: StateDict,
  options: RecognizeOptions,
  index: KeyIndex,
): boolean {
  const dropped = (fit: FamilyFit) => index.keys.filter((key) => isDropped(key, fit.family)).join();
  return (
    (a.family.epsilon === b.family.epsilon || isEpsilonKnown(a, state, options)) &&
    dropped(a) === dropped(b) &&
    a.matches.length === b.matches.length &&
    a.matches.every((match, i) => {
      const other = b.matches[i];
      return (
        match.prefix === other?.prefix &&
        match.form === other.form &&
        match.deployKeys.weight === other.deployKeys.weight &&
        match.deployKeys.bias === other.deployKeys.bias &&
        (match.stone === other.stone || JSON.stringify(match.stone) === JSON.stringify(other.stone))
      );
    })
  );
}

function isEpsilonKnown(fit: FamilyFit, state: StateDict, options: RecognizeOptions): boolean {
  if (options.epsilon !== undefined) return true;
  return fit.matches.every((match) =>
    match.keys.every((key) => {
      const path = key.replace(/\.(running_mean|_mean)$/, "");
      return path === key || state.modules.get(path)?.attributes["eps"] !== undefined;
    }),
  );
}

function withAlternatives(fit: FamilyFit, others: readonly FamilyFit[]): FamilyFit {
  const alternatives = others.map((other) => other.family.name);
  return { ...fit, matches: fit.matches.map((match) => ({ ...match, alternatives })) };
}

function isSubset(keys: ReadonlySet<string>, of: ReadonlySet<string>): boolean {
  for (const key of keys) if (!of.has(key)) return false;
  return true;
}

function overlaps(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  for (const key of a) if (b.has(key)) return true;
  return false;
}
