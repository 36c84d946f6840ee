/** @file The blocks of one family in one checkpoint: which fit, which fit in part, which are in deploy form. */

import { type Binding, type BoundStone, bindStone } from "./bind-stone.ts";
import type { BlockRow, FamilyRow, Stone } from "./family.ts";
import type { KeyIndex } from "./key-index.ts";
import {
  hasVariables,
  isCovered,
  joinKey,
  substitute,
  templateMatcher,
  type Variables,
} from "./key-template.ts";

/** A block of a family at a prefix. */
export interface BlockMatch {
  readonly family: FamilyRow;
  readonly block: BlockRow;
  /** Full dotted path of the block's module; `""` is the root. */
  readonly prefix: string;
  /**
   * `training`: branches only. `deploy`: the fused weights only. `mixed`: fused weights lie beside the branches;
   * they are stale or a placeholder, the branches are what counts.
   */
  readonly form: "training" | "deploy" | "mixed";
  /** Every key the block owns; what conversion replaces. In deploy form: the fused weights. */
  readonly keys: readonly string[];
  readonly deployKeys: {
    readonly weight: string;
    readonly bias: string;
    /** Fused weights found beside the branches. */
    readonly stale?: readonly string[];
  };
  /** Other families that fit as well and mean the same. */
  readonly alternatives: readonly string[];
  /** The row's graph with full keys; what `compileBlock` compiles. */
  readonly stone: BoundStone;
}

/** A prefix that looks like a block of a family, but is not one. */
export interface PartFit {
  readonly family: string;
  readonly kind: string;
  readonly prefix: string;
  /** Keys the block would need. */
  readonly missing: readonly string[];
  /** Keys below the prefix that the block does not explain. */
  readonly unexplained: readonly string[];
}

export interface FamilyFit {
  readonly family: FamilyRow;
  readonly matches: readonly BlockMatch[];
  readonly partFits: readonly PartFit[];
  /** What it explains, for comparing families. Companions fit everywhere, so they say nothing. */
  readonly keys: ReadonlySet<string>;
}

/** Keys that ride along with blocks of every family: attention, activation, bookkeeping. */
const ALWAYS_KEPT = [
  "se.**",
  "attn.**",
  "se_layer.**",
  "post_se.**",
  "act.**",
  "activation.**",
  "nonlinearity.**",
  "nonlinear.**",
  "drop_path.**",
];

const EMPTY: BoundStone = { op: "sequence", parts: [] };

/** Bindings of graphs that several families share, by graph and place. */
export type BindingCache = Map<Stone, Map<string, Binding>>;

/** `isWithin` says whether the family may be considered at a prefix. */
export function findBlocks(
  family: FamilyRow,
  index: KeyIndex,
  cache: BindingCache,
  isWithin: (prefix: string) => boolean,
): FamilyFit {
  const claimed = new Set<string>();
  const matches: BlockMatch[] = [];
  const partFits: PartFit[] = [];
  const tryBlocks = (companions: boolean): void => {
    for (const block of family.blocks) {
      if ((block.companion ?? false) !== companions) continue;
      for (const at of anchored(block.anchor, index)) {
        if (!isWithin(at.prefix) || claimed.has(at.key)) continue;
        const found = matchBlock(family, block, at, index, cache);
        if (!found || found.keys.some((key) => claimed.has(key))) continue;
        if ("missing" in found) {
          partFits.push(found);
          continue;
        }
        for (const key of found.keys) claimed.add(key);
        matches.push(found);
      }
    }
  };
  tryBlocks(false);
  if (matches.length > 0) tryBlocks(true);
  for (const block of family.blocks) {
    matches.push(...findDeployed(family, block, index, claimed, isWithin));
  }
  return explainRest(
    { family, matches, partFits: partFits.filter(isNotClaimed(claimed)) },
    index,
    claimed,
  );
}

type KeyedPartFit = PartFit & { readonly keys: readonly string[] };

function isNotClaimed(claimed: ReadonlySet<string>): (fit: PartFit) => boolean {
  return (fit) => !(fit as KeyedPartFit).keys.some((key) => claimed.has(key));
}

interface Anchored {
  readonly key: string;
  readonly prefix: string;
  readonly variables: Variables;
}

function anchored(template: string, index: KeyIndex): Anchored[] {
  const matcher = templateMatcher(template);
  const lastTwo = template.split(".").slice(-2);
  // Only a template of two parts or more without variables in them has a known ending.
  const isKnown = lastTwo.length === 2 && !hasVariables(lastTwo.join());
  const found: Anchored[] = [];
  for (const key of isKnown ? index.endingIn(lastTwo.join(".")) : index.keys) {
    const at = matcher.tail(key);
    if (at) found.push({ key, ...at });
  }
  return found;
}

function matchBlock(
  family: FamilyRow,
  block: BlockRow,
  { prefix, variables }: Anchored,
  index: KeyIndex,
  cache: BindingCache,
): BlockMatch | KeyedPartFit | undefined {
  const full = (key: string) => joinKey(prefix, substitute(key, variables));
  if (block.forbid?.some((key) => index.has(full(key)))) return undefined;
  const binding = bindOnce(block.graph, prefix, variables, index, cache);
  const keys = new Set(binding.keys);
  const missing = new Set(binding.missing);
  for (const key of block.require ?? []) if (!index.has(full(key))) missing.add(full(key));
  for (const key of block.drops ?? []) if (index.has(full(key))) keys.add(full(key));
  const owned = [...keys].sort((a, b) => index.position(a) - index.position(b));
  if (missing.size > 0) {
    return {
      family: family.name,
      kind: block.kind,
      prefix,
      missing: [...missing],
      unexplained: [],
      keys: owned,
    };
  }
  const weight = full(block.deploy.weight);
  const bias = full(block.deploy.bias);
  const stale = [weight, bias].filter((key) => index.has(key) && !keys.has(key));
  return {
    family,
    block,
    prefix,
    form: stale.length > 0 ? "mixed" : "training",
    keys: owned,
    deployKeys: stale.length > 0 ? { weight, bias, stale } : { weight, bias },
    alternatives: [],
    stone: binding.stone,
  };
}

function bindOnce(
  graph: Stone,
  prefix: string,
  variables: Variables,
  index: KeyIndex,
  cache: BindingCache,
): Binding {
  let places = cache.get(graph);
  if (!places) {
    places = new Map();
    cache.set(graph, places);
  }
  const place = JSON.stringify([prefix, ...variables.values()]);
  const known = places.get(place) ?? bindStone(graph, index, prefix, variables);
  places.set(place, known);
  return known;
}

/** Blocks of which only the fused weights are there. */
function findDeployed(
  family: FamilyRow,
  block: BlockRow,
  index: KeyIndex,
  claimed: Set<string>,
  isWithin: (prefix: string) => boolean,
): BlockMatch[] {
  if (block.deploy.distinctive === false) return [];
  const found: BlockMatch[] = [];
  const stale = (key: string) => claimed.has(key);
  for (const { key, prefix, variables } of anchored(block.deploy.weight, index)) {
    const full = (name: string) => joinKey(prefix, substitute(name, variables));
    const bias = full(block.deploy.bias);
    if (!isWithin(prefix) || stale(key) || !index.has(bias) || index.has(full(block.anchor)))
      continue;
    claimed.add(key);
    claimed.add(bias);
    found.push({
      family,
      block,
      prefix,
      form: "deploy",
      keys: [key, bias],
      deployKeys: { weight: key, bias },
      alternatives: [],
      stone: EMPTY,
    });
  }
  return found;
}

/** A block whose prefix holds keys that nothing explains may have a branch that we would lose: no match. */
function explainRest(
  fit: Omit<FamilyFit, "keys">,
  index: KeyIndex,
  claimed: ReadonlySet<string>,
): FamilyFit {
  const matches: BlockMatch[] = [];
  const partFits = [...fit.partFits];
  for (const match of fit.matches) {
    const own = new Set([...match.keys, ...(match.deployKeys.stale ?? [])]);
    const keeps = [...ALWAYS_KEPT, ...(match.block.keeps ?? [])];
    const skip = match.prefix === "" ? 0 : match.prefix.length + 1;
    const unexplained =
      match.form === "deploy"
        ? []
        : index
            .below(match.prefix)
            .filter(
              (key) => !own.has(key) && !claimed.has(key) && !isCovered(key.slice(skip), keeps),
            );
    if (unexplained.length === 0) matches.push(match);
    else {
      partFits.push({
        family: fit.family.name,
        kind: match.block.kind,
        prefix: match.prefix,
        missing: [],
        unexplained,
      });
    }
  }
  const keys = new Set<string>();
  for (const match of matches) {
    if (match.block.companion) continue;
    for (const key of match.keys) keys.add(key);
    for (const key of match.deployKeys.stale ?? []) keys.add(key);
  }
  return { family: fit.family, matches, partFits, keys };
}
