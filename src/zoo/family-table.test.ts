import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { FAMILIES } from "./families/index.ts";
import { formatFamilyTable } from "./family-table.ts";

test("docs/families.md is what the rows say (else run scripts/write-families.ts)", () => {
  const written = readFileSync(new URL("../../docs/families.md", import.meta.url), "utf8");
  expect(written).toBe(formatFamilyTable(FAMILIES));
});

test("names are unique", () => {
  const names = FAMILIES.map((family) => family.name);
  expect(new Set(names).size).toBe(names.length);
});
