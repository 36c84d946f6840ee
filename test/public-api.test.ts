/**
 * @file The public API is an explicit list: a change of it shows up as a change of the snapshot beside this file.
 * What runs (values) and what only the type checker sees (types) are listed apart.
 */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

interface Exports {
  readonly values: readonly string[];
  readonly types: readonly string[];
}

/** The names that an entry point exports, read from its `export { … } from` lists. */
function exportsOf(entry: string): Exports {
  const text = readFileSync(new URL(`../src/${entry}`, import.meta.url), "utf8");
  const values: string[] = [];
  const types: string[] = [];
  for (const match of text.matchAll(/^export\s+(type\s+)?\{([^}]*)\}/gm)) {
    const names = match[2]!.replace(/\/\/.*$/gm, "").split(",");
    for (const name of names.map((one) => one.trim()).filter((one) => one !== "")) {
      const exported = name.replace(/^type\s+/, "").replace(/^.*\sas\s+/, "");
      const isType = match[1] !== undefined || name.startsWith("type ");
      (isType ? types : values).push(exported);
    }
  }
  return { values: values.sort(), types: types.sort() };
}

const ENTRIES: readonly [string, () => Promise<object>][] = [
  ["index.ts", () => import("../src/index.ts")],
  ["node.ts", () => import("../src/node.ts")],
];

describe.each(ENTRIES)("src/%s", (entry, load) => {
  test("exports what the snapshot lists", () => {
    expect(exportsOf(entry)).toMatchSnapshot();
  });

  test("exports at run time what its lists say", async () => {
    const module: object = await load();
    const text = readFileSync(new URL(`../src/${entry}`, import.meta.url), "utf8");
    const own = exportsOf(entry).values;
    // node.ts may pass on the whole of index.ts; nothing else may be exported unseen.
    const stars = [...text.matchAll(/^export\s+\*\s+from\s+"([^"]+)"/gm)].map((match) => match[1]);
    expect(stars).toEqual(entry === "node.ts" && stars.length > 0 ? ["./index.ts"] : []);
    const inherited = stars.length > 0 ? exportsOf("index.ts").values : [];
    expect(Object.keys(module).sort()).toEqual([...own, ...inherited].sort());
  });
});
