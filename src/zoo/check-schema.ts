/** @file Checks a value against the part of JSON Schema that `recipe-schema.ts` uses, with messages for people. */

import type { JsonValue } from "./json-with-lines.ts";

/** JSON Schema 2020-12, the keywords used here. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: "string" | "number" | "integer" | "boolean" | "array" | "object";
  readonly const?: JsonValue;
  readonly enum?: readonly JsonValue[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: false;
  /** Alternatives of different JSON types, or objects each with a first required key of its own. */
  readonly oneOf?: readonly Schema[];
  readonly description?: string;
}

export type Definitions = Readonly<Record<string, Schema>>;

export interface SchemaError {
  /** Like `/blocks/0/graph`. */
  readonly path: string;
  readonly what: string;
}

/** The first thing wrong with `value`, or undefined. */
export function checkSchema(
  value: JsonValue,
  schema: Schema,
  definitions: Definitions,
  path = "",
): SchemaError | undefined {
  const resolved = resolve(schema, definitions);
  if (resolved.oneOf) {
    const chosen = choose(value, resolved.oneOf, definitions);
    if (chosen) return checkSchema(value, chosen, definitions, path);
    return {
      path,
      what: `${describe(value)}, expected ${listAlternatives(resolved, definitions)}`,
    };
  }
  if (resolved.const !== undefined && value !== resolved.const) {
    return { path, what: `${describe(value)}, expected ${JSON.stringify(resolved.const)}` };
  }
  if (resolved.enum && !resolved.enum.includes(value)) {
    const allowed = resolved.enum.map((item) => JSON.stringify(item)).join(", ");
    return { path, what: `${describe(value)}, expected one of ${allowed}` };
  }
  if (resolved.type && !hasType(value, resolved.type)) {
    return { path, what: `${describe(value)}, expected ${withArticle(resolved.type)}` };
  }
  if (typeof value === "string") return checkString(value, resolved, path);
  if (typeof value === "number") return checkNumber(value, resolved, path);
  if (isArray(value)) return checkArray(value, resolved, definitions, path);
  if (isObject(value)) return checkObject(value, resolved, definitions, path);
  return undefined;
}

function resolve(schema: Schema, definitions: Definitions): Schema {
  const name = schema.$ref?.replace("#/$defs/", "");
  return name === undefined ? schema : (definitions[name] ?? {});
}

function checkString(value: string, schema: Schema, path: string): SchemaError | undefined {
  if (schema.pattern === undefined || new RegExp(schema.pattern, "u").test(value)) return undefined;
  return { path, what: `"${value}" does not have the form ${schema.pattern}` };
}

function checkNumber(value: number, schema: Schema, path: string): SchemaError | undefined {
  const { minimum, exclusiveMinimum } = schema;
  if (minimum !== undefined && value < minimum) {
    return { path, what: `${value}, expected at least ${minimum}` };
  }
  if (exclusiveMinimum !== undefined && value <= exclusiveMinimum) {
    return { path, what: `${value}, expected more than ${exclusiveMinimum}` };
  }
  return undefined;
}

function checkArray(
  value: readonly JsonValue[],
  schema: Schema,
  definitions: Definitions,
  path: string,
): SchemaError | undefined {
  const { minItems = 0, maxItems = Number.POSITIVE_INFINITY, items } = schema;
  if (value.length < minItems || value.length > maxItems) {
    const bound = value.length < minItems ? `at least ${minItems}` : `at most ${maxItems}`;
    return { path, what: `${value.length} items, expected ${bound}` };
  }
  if (!items) return undefined;
  for (const [i, item] of value.entries()) {
    const error = checkSchema(item, items, definitions, `${path}/${i}`);
    if (error) return error;
  }
  return undefined;
}

function checkObject(
  value: Readonly<Record<string, JsonValue>>,
  schema: Schema,
  definitions: Definitions,
  path: string,
): SchemaError | undefined {
  const properties = schema.properties ?? {};
  for (const key of schema.required ?? []) {
    if (!Object.hasOwn(value, key)) return { path, what: `has no "${key}", expected one` };
  }
  for (const [key, item] of Object.entries(value)) {
    const property = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (!property) {
      if (schema.additionalProperties !== false) continue;
      const known = Object.keys(properties).join(", ");
      return { path: `${path}/${key}`, what: `unknown key "${key}", expected one of ${known}` };
    }
    const error = checkSchema(item, property, definitions, `${path}/${key}`);
    if (error) return error;
  }
  return undefined;
}

/** The alternative a value is meant to be: by its JSON type, and for objects by the key that only one of them needs. */
function choose(
  value: JsonValue,
  alternatives: readonly Schema[],
  definitions: Definitions,
): Schema | undefined {
  return alternatives.find((alternative) => {
    const schema = resolve(alternative, definitions);
    if (schema.oneOf) return choose(value, schema.oneOf, definitions) !== undefined;
    if (schema.const !== undefined) return value === schema.const;
    if (!schema.type || !hasType(value, schema.type)) return false;
    const own = schema.required?.[0];
    if (own !== undefined && isObject(value)) return Object.hasOwn(value, own);
    return typeof value !== "string" || checkString(value, schema, "") === undefined;
  });
}

function listAlternatives(schema: Schema, definitions: Definitions): string {
  const names = (schema.oneOf ?? []).map((alternative) => {
    const one = resolve(alternative, definitions);
    if (one.oneOf) return listAlternatives(one, definitions);
    if (one.const !== undefined) return JSON.stringify(one.const);
    if (one.type === "object") return `"${one.required?.[0]}"`;
    return one.pattern ? `a string of the form ${one.pattern}` : withArticle(one.type ?? "string");
  });
  const hasObjects = names.some((name) => name.startsWith('"'));
  return `${hasObjects ? "a value or an object with one of: " : ""}${names.join(", ")}`;
}

function hasType(value: JsonValue, type: NonNullable<Schema["type"]>): boolean {
  if (type === "integer") return Number.isInteger(value);
  if (type === "array") return isArray(value);
  if (type === "object") return isObject(value);
  return typeof value === type;
}

function isArray(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}

function isObject(value: JsonValue): value is Readonly<Record<string, JsonValue>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function withArticle(type: string): string {
  return /^[aeio]/.test(type) ? `an ${type}` : `a ${type}`;
}

function describe(value: JsonValue): string {
  if (isArray(value)) return `an array of ${value.length}`;
  if (isObject(value)) {
    const keys = Object.keys(value).map((key) => `"${key}"`);
    return keys.length === 0 ? "an empty object" : `an object with ${keys.join(", ")}`;
  }
  return JSON.stringify(value);
}
