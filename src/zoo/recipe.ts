/** @file A user's recipe file: a family row as JSON, checked so that every message names the line and the key. */

import { badData } from "../core/errors.ts";
import { checkSchema } from "./check-schema.ts";
import type { BlockRow, FamilyRow, Stone } from "./family.ts";
import { parseJsonWithLines } from "./json-with-lines.ts";
import { MAX_DEPTH, MAX_RECIPE_CHARACTERS } from "./limits.ts";
import { RECIPE_DEFINITIONS, RECIPE_SCHEMA } from "./recipe-schema.ts";

/** Every stone and expression is an object in an array in an object. */
const MAX_JSON_DEPTH: number = 2 * MAX_DEPTH;

/**
 * Parses and checks a recipe. `where` names the file in messages.
 *
 * Throws `bad-data`: not JSON, nested too deeply, too long, or not a recipe; always with line and key.
 */
export function parseRecipe(where: string, text: string): FamilyRow {
  if (text.length > MAX_RECIPE_CHARACTERS) {
    throw badData(where, `${text.length} characters, expected at most ${MAX_RECIPE_CHARACTERS}`);
  }
  const json = parseJsonWithLines(where, text.replace(/^\uFEFF/, ""), MAX_JSON_DEPTH);
  const fail = (path: string, what: string): never => {
    const key = path === "" ? "the recipe" : path.slice(1).replaceAll("/", ".");
    throw badData(
      `${where} line ${json.lineOf(path)}: ${key}`,
      what,
      "docs/recipes.md describes every key",
    );
  };
  const error = checkSchema(json.value, RECIPE_SCHEMA, RECIPE_DEFINITIONS);
  if (error) fail(error.path, error.what);
  const row = json.value as unknown as Partial<FamilyRow> &
    Pick<FamilyRow, "name" | "epsilon" | "blocks">;
  for (const [i, block] of row.blocks.entries()) {
    const found = checkVariables(block) ?? checkContradictions(block);
    if (found) fail(`/blocks/${i}/${found.key}`, found.what);
  }
  return { ...row, title: row.title ?? row.name };
}

/** Variables have to be bound where they are used: by the anchor or by an `each` around. */
function checkVariables(block: BlockRow): { key: string; what: string } | undefined {
  const bound = new Set(variablesOf(block.anchor));
  for (const key of ["weight", "bias"] as const) {
    const free = variablesOf(block.deploy[key]).find((name) => !bound.has(name));
    if (free) return { key: `deploy/${key}`, what: `{${free}} is in no way bound by the anchor` };
  }
  const free = freeVariable(block.graph, bound);
  return free === undefined
    ? undefined
    : { key: "graph", what: `{${free}} is bound neither by the anchor nor by an "each" around it` };
}

/** What no checkpoint can satisfy, or what says two things of one key. */
function checkContradictions(block: BlockRow): { key: string; what: string } | undefined {
  const { anchor, deploy, drops = [], forbid = [], keeps = [], require = [] } = block;
  if (deploy.weight === deploy.bias) {
    return {
      key: "deploy/bias",
      what: `${JSON.stringify(deploy.bias)} is the weight's key as well`,
    };
  }
  const excluded = forbid.findIndex((key) => key === anchor || require.includes(key));
  if (excluded >= 0) {
    const what = `${JSON.stringify(forbid[excluded])} must exist as well, so no block can fit`;
    return { key: `forbid/${excluded}`, what };
  }
  const both = drops.findIndex((key) => keeps.includes(key));
  if (both >= 0) {
    return { key: `drops/${both}`, what: `${JSON.stringify(drops[both])} is kept as well` };
  }
  const key = impossibleKey(block.graph);
  return key === undefined
    ? undefined
    : { key: "graph", what: `a stone is there only when and unless ${JSON.stringify(key)} exists` };
}

/** The key that some stone both needs and must not have. */
function impossibleKey(stone: Stone): string | undefined {
  if (stone.when !== undefined && stone.when === stone.unless) return stone.when;
  for (const part of partsOf(stone)) {
    const key = impossibleKey(part);
    if (key !== undefined) return key;
  }
  return undefined;
}

function partsOf(stone: Stone): readonly Stone[] {
  if ("each" in stone) return [stone.stone];
  if ("sequence" in stone) return stone.sequence;
  if ("sum" in stone) return stone.sum;
  return "concat" in stone ? stone.concat : [];
}

function freeVariable(stone: Stone, bound: ReadonlySet<string>): string | undefined {
  if ("each" in stone) {
    return freeVariable(stone.stone, new Set([...bound, ...variablesOf(stone.each)]));
  }
  const parts = partsOf(stone);
  for (const part of parts) {
    const free = freeVariable(part, bound);
    if (free !== undefined) return free;
  }
  if (parts.length > 0) return undefined;
  return variablesOf(JSON.stringify(stone)).find((name) => !bound.has(name));
}

function variablesOf(text: string): string[] {
  return [...text.matchAll(/\{([a-z]+)\}/g)].map((match) => match[1] ?? "");
}
