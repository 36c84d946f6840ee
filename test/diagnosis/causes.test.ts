/** @file docs/causes.md has a heading per cause, with the title and the fix that the program prints. */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CAUSE_IDS, CAUSES } from "../../src/diagnose/causes.ts";

const page = readFileSync(new URL("../../docs/causes.md", import.meta.url), "utf8");
const sections = new Map(
  page
    .split(/^### /m)
    .slice(1)
    .map((text) => [text.slice(0, text.indexOf("\n")), text] as const),
);

test("every cause in the code has its anchor, and every anchor its cause", () => {
  expect([...sections.keys()].sort()).toEqual([...CAUSE_IDS].sort());
});

test.each(CAUSE_IDS)("%s: title, symptom, detection and fix", (id) => {
  const section = sections.get(id) ?? "";
  const { title, fix } = CAUSES[id];
  expect(section).toContain(`${title.slice(0, 1).toUpperCase()}${title.slice(1)}.`);
  expect(section).toContain(`- Fix: ${fix}`);
  expect(section).toMatch(/^- Symptom: .+/m);
  expect(section).toMatch(/^- Detected: .+/m);
});

test("an anchor is a plain slug, so that the printed address works", () => {
  for (const id of CAUSE_IDS) expect(id).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
});
