import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { FAMILIES } from "./families/index.ts";
import { FAMILY_NOTES } from "./families/notes.ts";
import { formatFamilyTable } from "./family-table.ts";

test("docs/families.md is what the rows say (else run scripts/write-families.ts)", () => {
  const written = readFileSync(new URL("../../docs/families.md", import.meta.url), "utf8");
  expect(written).toBe(formatFamilyTable(FAMILIES, FAMILY_NOTES));
});

test("names are unique", () => {
  const names = FAMILIES.map((family) => family.name);
  expect(new Set(names).size).toBe(names.length);
});

test("every family has its notes, and no other", () => {
  expect(Object.keys(FAMILY_NOTES).sort()).toEqual(FAMILIES.map(({ name }) => name).sort());
});
