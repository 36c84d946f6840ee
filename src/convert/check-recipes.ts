/** @file Holds a checkpoint to the recipes that the user gave for it: one that fits nothing was meant to fit. */

import { ReparamError } from "../core/errors.ts";
import type { FamilyRow } from "../zoo/family.ts";
import { recognize } from "../zoo/recognize.ts";
import type { CheckpointFile } from "./open.ts";
import { partFitNote } from "./part-fit-note.ts";

/** @throws usage (a recipe that no block of the file follows, or two of one name), and what recognising throws */
export function assertRecipesFit(file: CheckpointFile): void {
  const { recipes = [] } = file.reading;
  const names = recipes.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new ReparamError("usage", {
      where: `recipe ${twice}`,
      what: "two recipes have this name",
      fix: "Give each a name of its own",
    });
  }
  if (recipes.length === 0) return;
  const { matches } = recognize(file.state, file.reading);
  const used = new Set(
    matches.flatMap(({ family, alternatives }) => [family.name, ...alternatives]),
  );
  const unused = recipes.find(({ name }) => !used.has(name));
  if (!unused) return;
  throw new ReparamError("usage", {
    where: `recipe ${unused.name}`,
    what: `no block of ${file.name} follows it: ${reasonOf(file, unused)}`,
    fix: "Correct the recipe, or leave it out",
  });
}

function reasonOf({ state, reading }: CheckpointFile, recipe: FamilyRow): string {
  const alone = recognize(state, { ...reading, family: recipe.name });
  const [near] = alone.partFits;
  if (near) return partFitNote(near);
  if (alone.matches.length > 0) return "another recipe or the asked family takes its blocks";
  return `no place has its keys (${recipe.blocks.map(({ anchor }) => anchor).join(", ")} …)`;
}
