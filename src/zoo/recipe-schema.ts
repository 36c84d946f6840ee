/** @file The JSON Schema of recipe files and rows: `schema/recipe.schema.json` is written from it (a test compares). */

import type { Definitions, Schema } from "./check-schema.ts";

const KEY = (description: string): Schema => ({ type: "string", description });
const KEYS = (description: string): Schema => ({
  type: "array",
  items: { type: "string" },
  description,
});

function object(required: Record<string, Schema>, optional: Record<string, Schema> = {}): Schema {
  return {
    type: "object",
    required: Object.keys(required),
    properties: { ...required, ...optional },
    additionalProperties: false,
  };
}

function listOf(name: string, description: string): Schema {
  return { type: "array", items: { $ref: `#/$defs/${name}` }, minItems: 1, description };
}

const STONE: Schema = { $ref: "#/$defs/stone" };
const EXPRESSION: Schema = { $ref: "#/$defs/expression" };

const PRESENCE: Record<string, Schema> = {
  optional: { type: "boolean", description: "Left out where its keys are absent." },
  when: KEY("Only where this key exists."),
  unless: KEY("Only where this key does not exist."),
  sameChannels: {
    type: "boolean",
    description: "Of a sum's term: only where the sum has as many channels as its input.",
  },
};

function stone(required: Record<string, Schema>, optional: Record<string, Schema> = {}): Schema {
  return object(required, { ...optional, ...PRESENCE });
}

const SAME_OR_NUMBER: Schema = {
  oneOf: [{ const: "same" }, { type: "integer", minimum: 0 }],
};

const NUMBER_OR_KEY = (description: string): Schema => ({
  oneOf: [{ type: "integer", minimum: 0 }, { type: "string" }],
  description,
});

const STONES: Record<string, Schema> = {
  identity: stone({ identity: { const: true, description: "The value itself." } }),
  sequence: stone({ sequence: listOf("stone", "One after the other.") }),
  sum: stone({ sum: listOf("stone", "Each reads the same value; the results are added.") }),
  concat: stone({ concat: listOf("stone", "The same, side by side along channels.") }),
  each: stone({
    each: KEY("A key with variables like {n}: one copy per set of numbers with which it exists."),
    join: { enum: ["sum", "concat", "sequence"] },
    stone: STONE,
  }),
  conv: stone(
    {
      conv: {
        oneOf: [{ type: "string" }, object({ weight: EXPRESSION }, { bias: EXPRESSION })],
        description: "A module's key (.weight, and .bias if there is one), or expressions.",
      },
    },
    {
      padding: SAME_OR_NUMBER,
      dilation: { oneOf: [{ type: "integer", minimum: 1 }, { type: "string" }] },
      group: {
        oneOf: [
          { const: "block" },
          { const: "own" },
          { const: "depthwise" },
          { type: "integer", minimum: 1 },
        ],
      },
      rows: { const: "interleaved" },
    },
  ),
  bn: stone({ bn: KEY("A BatchNorm module's key.") }),
  average: stone(
    { average: NUMBER_OR_KEY("Kernel size, or the weight's key that has the same one.") },
    { padding: SAME_OR_NUMBER },
  ),
  scale: stone({ scale: EXPRESSION }),
  shift: stone({ shift: EXPRESSION }),
  pad: stone({
    pad: NUMBER_OR_KEY("Size on every side, or the weight's key whose half kernel is meant."),
    with: { enum: ["zero", "self"] },
  }),
  crop: stone({ crop: { type: "integer", minimum: 0 } }),
};

const NUMBERS: Schema = { type: "array", items: { type: "number" } };
const SIZES: Schema = { type: "array", items: { type: "integer", minimum: 1 } };

const EXPRESSIONS: readonly Schema[] = [
  { type: "string", description: "A tensor's key." },
  { type: "number" },
  object({ values: NUMBERS, shape: SIZES }),
  object({ add: listOf("expression", "Element by element, broadcast.") }),
  object({ multiply: listOf("expression", "Element by element, broadcast.") }),
  object({ identityLike: EXPRESSION }),
  object({ row: KEY("A matrix's key."), index: { type: "integer", minimum: 0 } }),
  object({ unsqueeze: EXPRESSION, axis: { type: "integer", minimum: 0 } }),
  object({ tapSum: EXPRESSION }),
  object({
    taps: EXPRESSION,
    matrix: { type: "array", items: NUMBERS, minItems: 1 },
    kernel: { ...SIZES, minItems: 2, maxItems: 2 },
  }),
  object({ transpose: EXPRESSION }, { group: { type: "integer", minimum: 1 } }),
];

const BLOCK: Schema = object(
  {
    kind: KEY("The block's class name, for people."),
    anchor: KEY("The key that makes a prefix a candidate."),
    graph: STONE,
    deploy: object(
      { weight: KEY("The fused weight's key."), bias: KEY("The fused bias's key.") },
      { distinctive: { type: "boolean" } },
    ),
  },
  {
    require: KEYS("Further keys that must exist."),
    forbid: KEYS("Keys that must not exist."),
    keeps: KEYS("Keys below the prefix that stay; a trailing .** means everything below."),
    drops: KEYS("Further keys that the deploy form does not have."),
    companion: { type: "boolean" },
  },
);

export const RECIPE_DEFINITIONS: Definitions = {
  stone: { oneOf: Object.values(STONES) },
  expression: { oneOf: EXPRESSIONS },
  block: BLOCK,
};

export const RECIPE_SCHEMA: Schema = object(
  {
    name: { type: "string", pattern: "^[a-z0-9]+(-[a-z0-9]+)*$" },
    epsilon: { type: "number", exclusiveMinimum: 0 },
    blocks: listOf("block", "Tried in this order."),
  },
  {
    $schema: { type: "string" },
    title: { type: "string" },
    source: { type: "string" },
    quirks: KEYS("One line each: what surprises people."),
    prefixes: KEYS("Shapes of block prefixes that speak for this family."),
    within: KEYS("Only at prefixes of these shapes."),
    drops: KEYS("Keys that the deploy form deletes."),
  },
);

/** The published file's content. */
export function recipeSchemaDocument(): unknown {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "A reparam recipe: one family of multi-branch blocks",
    ...RECIPE_SCHEMA,
    $defs: RECIPE_DEFINITIONS,
  };
}
