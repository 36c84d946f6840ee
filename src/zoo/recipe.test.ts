import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isReparamError } from "../core/errors.ts";
import { FAMILIES } from "./families/index.ts";
import type { FamilyRow } from "./family.ts";
import { parseJsonWithLines } from "./json-with-lines.ts";
import { MAX_DEPTH, MAX_RECIPE_CHARACTERS } from "./limits.ts";
import { parseRecipe } from "./recipe.ts";
import { recipeSchemaDocument } from "./recipe-schema.ts";

const GOOD = `{
  "name": "my-block",
  "epsilon": 0.00001,
  "blocks": [
    {
      "kind": "MyBlock",
      "anchor": "main.weight",
      "graph": {
        "sum": [
          { "conv": "main" },
          { "bn": "skip", "optional": true }
        ]
      },
      "deploy": { "weight": "fused.weight", "bias": "fused.bias" }
    }
  ]
}`;

describe("parseRecipe", () => {
  test("fills in what a recipe may leave out", () => {
    const row = parseRecipe("my.json", GOOD);
    expect([row.name, row.title]).toEqual(["my-block", "my-block"]);
    expect(row.blocks[0]?.graph).toEqual({
      sum: [{ conv: "main" }, { bn: "skip", optional: true }],
    });
  });

  test.each(FAMILIES.map((row) => [row.name, row] as const))(
    "the built-in row %s is a recipe",
    (_, row: FamilyRow) => {
      expect(parseRecipe("row", JSON.stringify(row))).toEqual(JSON.parse(JSON.stringify(row)));
    },
  );

  test.each([
    [
      "an unknown key",
      '"optional": true',
      '"optonal": true',
      'line 11: blocks.0.graph.sum.1.optonal: unknown key "optonal"',
    ],
    [
      "a stone of no kind",
      '{ "conv": "main" }',
      '{ "cnov": "main" }',
      'line 10: blocks.0.graph.sum.0: an object with "cnov"',
    ],
    [
      "a wrong type",
      '"bn": "skip"',
      '"bn": 3',
      "line 11: blocks.0.graph.sum.1.bn: 3, expected a string",
    ],
    ["a missing key", '"anchor": "main.weight",', "", 'line 5: blocks.0: has no "anchor"'],
    ["an epsilon that is not positive", "0.00001", "0", "line 3: epsilon: 0, expected more than 0"],
    [
      "a name with spaces",
      '"my-block"',
      '"my block"',
      'line 2: name: "my block" does not have the form',
    ],
    [
      "a free variable",
      '"conv": "main"',
      '"conv": "main.{n}"',
      "line 8: blocks.0.graph: {n} is bound neither",
    ],
    [
      "a free variable in the deploy keys",
      "fused.weight",
      "fused.{n}.weight",
      "line 14: blocks.0.deploy.weight: {n}",
    ],
    [
      "an empty sum",
      '{ "bn": "skip", "optional": true }',
      '{ "sum": [] }',
      "line 11: blocks.0.graph.sum.1.sum: 0 items",
    ],
    [
      "two of one key",
      '"name": "my-block",',
      '"name": "my-block", "name": "b",',
      'line 2: the key "name" occurs twice',
    ],
    [
      "one name for weight and bias",
      '"bias": "fused.bias"',
      '"bias": "fused.weight"',
      'line 14: blocks.0.deploy.bias: "fused.weight" is the weight\'s key as well',
    ],
    [
      "a key that must and must not be there",
      '"anchor": "main.weight",',
      '"anchor": "main.weight", "require": ["a"],\n"forbid": ["b", "a"],',
      'line 8: blocks.0.forbid.1: "a" must exist as well, so no block can fit',
    ],
    [
      "a key that is kept and dropped",
      '"anchor": "main.weight",',
      '"anchor": "main.weight", "keeps": ["a.**"], "drops": ["a.**"],',
      'line 7: blocks.0.drops.0: "a.**" is kept as well',
    ],
    [
      "a stone that can never be there",
      '"optional": true',
      '"when": "a", "unless": "a"',
      'line 8: blocks.0.graph: a stone is there only when and unless "a" exists',
    ],
    ["a missing comma", '"my-block",', '"my-block"', 'line 3: found "\\"", expected ","'],
  ])("%s: line and key", (_, from, to, message) => {
    expect(GOOD).toContain(from);
    expect(() => parseRecipe("my.json", GOOD.replace(from, to))).toThrow(message);
  });

  test("limits: length and depth", () => {
    expect(() => parseRecipe("r", " ".repeat(MAX_RECIPE_CHARACTERS + 1))).toThrow("characters");
    const deep = `${"[".repeat(2 * MAX_DEPTH + 2)}${"]".repeat(2 * MAX_DEPTH + 2)}`;
    expect(() => parseRecipe("r", deep)).toThrow(`nested more than ${2 * MAX_DEPTH}`);
  });
});

describe("parseJsonWithLines", () => {
  test("agrees with JSON.parse on every value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(4), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent);
        expect(parseJsonWithLines("x", text, 1000).value).toEqual(JSON.parse(text));
      }),
      { seed: 20261123 },
    );
  });

  test("refuses what JSON.parse refuses, as bad data", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(), fc.string({ maxLength: 2 }), (value, at, insert) => {
        const good = JSON.stringify(value);
        const cut = at % (good.length + 1);
        const text = good.slice(0, cut) + insert + good.slice(cut + 1);
        let expected: unknown;
        try {
          expected = JSON.parse(text);
        } catch {
          let caught: unknown;
          try {
            parseJsonWithLines("x", text, 1000);
          } catch (error) {
            caught = error;
          }
          expect(isReparamError(caught, "bad-data")).toBe(true);
          return;
        }
        try {
          expect(parseJsonWithLines("x", text, 1000).value).toEqual(expected);
        } catch (error) {
          // Stricter than JSON.parse in one thing.
          expect(String(error)).toContain("occurs twice");
        }
      }),
      { seed: 20261123 },
    );
  });
});

test("schema/recipe.schema.json is the schema that recipes are checked against", () => {
  const path = new URL("../../schema/recipe.schema.json", import.meta.url);
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(
    JSON.parse(JSON.stringify(recipeSchemaDocument())),
  );
});
