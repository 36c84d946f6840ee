/** @file JSON parsing that remembers where every value stands, so that messages can name the line and the key. */

import { badData } from "../core/errors.ts";

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

export interface JsonWithLines {
  readonly value: JsonValue;
  /** Line (from 1) of the value at a path like `/blocks/0/graph`; of the nearest parent if there is none. */
  lineOf(path: string): number;
}

/** Throws `bad-data` with the line for a syntax error, a key that occurs twice, or nesting beyond `maxDepth`. */
export function parseJsonWithLines(where: string, text: string, maxDepth: number): JsonWithLines {
  const lines = new Map<string, number>();
  let at = 0;
  let line = 1;

  const fail = (what: string): never => {
    throw badData(`${where} line ${line}`, what);
  };
  const found = () => (at < text.length ? `found ${JSON.stringify(text[at])}` : "the file ends");
  const skipSpace = (): void => {
    for (; at < text.length; at++) {
      const c = text[at];
      if (c === "\n") line++;
      else if (c !== " " && c !== "\t" && c !== "\r") return;
    }
  };
  const expect = (c: string): void => {
    if (text[at] !== c) fail(`${found()}, expected ${JSON.stringify(c)}`);
    at++;
  };
  const parseString = (): string => {
    const start = at;
    expect('"');
    while (text[at] !== '"') {
      if (at >= text.length || text[at] === "\n") fail("a string is not closed");
      at += text[at] === "\\" ? 2 : 1;
    }
    at++;
    try {
      return JSON.parse(text.slice(start, at)) as string;
    } catch {
      return fail(`${text.slice(start, at)} is not a JSON string`);
    }
  };
  const parseScalar = (): JsonValue => {
    const token = /^[-+.\w]+/.exec(text.slice(at, at + 64))?.[0] ?? "";
    try {
      const value = JSON.parse(token) as JsonValue;
      at += token.length;
      return value;
    } catch {
      return fail(`${token === "" ? found() : `found ${token}`}, expected a JSON value`);
    }
  };
  const parseArray = (path: string, depth: number): JsonValue[] => {
    const items: JsonValue[] = [];
    at++;
    skipSpace();
    if (text[at] === "]") at++;
    else {
      for (;;) {
        items.push(parseValue(`${path}/${items.length}`, depth));
        skipSpace();
        if (text[at] === "]") break;
        expect(",");
      }
      at++;
    }
    return items;
  };
  const parseObject = (path: string, depth: number): JsonValue => {
    const entries = new Map<string, JsonValue>();
    at++;
    skipSpace();
    if (text[at] === "}") at++;
    else {
      for (;;) {
        skipSpace();
        const key = parseString();
        if (entries.has(key)) fail(`the key "${key}" occurs twice in one object`);
        skipSpace();
        expect(":");
        entries.set(key, parseValue(`${path}/${key}`, depth));
        skipSpace();
        if (text[at] === "}") break;
        expect(",");
      }
      at++;
    }
    // Own data properties only, "__proto__" included.
    return Object.fromEntries(entries);
  };
  const parseValue = (path: string, depth: number): JsonValue => {
    if (depth > maxDepth) fail(`nested more than ${maxDepth} deep`);
    skipSpace();
    lines.set(path, line);
    if (text[at] === "{") return parseObject(path, depth + 1);
    if (text[at] === "[") return parseArray(path, depth + 1);
    return text[at] === '"' ? parseString() : parseScalar();
  };

  const value = parseValue("", 0);
  skipSpace();
  if (at < text.length) fail(`${found()} after the end of the value`);
  return {
    value,
    lineOf: (path) => {
      for (let p = path; ; p = p.slice(0, p.lastIndexOf("/"))) {
        const known = lines.get(p);
        if (known !== undefined || p === "") return known ?? 1;
      }
    },
  };
}
