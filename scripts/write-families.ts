/** @file Writes what is made from the family rows: docs/families.md and schema/recipe.schema.json. */

import { writeFileSync } from "node:fs";
import { FAMILIES } from "../src/zoo/families/index.ts";
import { FAMILY_NOTES } from "../src/zoo/families/notes.ts";
import { formatFamilyTable } from "../src/zoo/family-table.ts";
import { recipeSchemaDocument } from "../src/zoo/recipe-schema.ts";

const root = new URL("../", import.meta.url);
writeFileSync(new URL("docs/families.md", root), formatFamilyTable(FAMILIES, FAMILY_NOTES));
writeFileSync(
  new URL("schema/recipe.schema.json", root),
  `${JSON.stringify(recipeSchemaDocument(), undefined, 2)}\n`,
);
