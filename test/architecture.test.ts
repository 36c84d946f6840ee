/** @file Holds `src/` to the room table: imports, cycles, packages, file lengths; and docs/architecture.md to the same table. */

import { readdirSync, readFileSync } from "node:fs";
import { join, posix, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { ENTRY_POINTS, formatRoomTable, PAGE_PACKAGES, ROOMS, type Room } from "./rooms.ts";

const repository = fileURLToPath(new URL("..", import.meta.url));
/** Longest file, in lines. */
const MAX_LINES = 400;
/** Of a file of the page: components do one thing. */
const MAX_PAGE_LINES = 200;
/** Guards against a walk that silently sees nothing: the first commit of all rooms had more. */
const MIN_FILES = 60;

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

/** Every static, re-exporting and literal dynamic import of a source text. */
function importsOf(text: string): Import[] {
  const found: Import[] = [];
  const statement = /^(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?["']([^"']+)["']/gm;
  for (const match of text.matchAll(statement)) {
    found.push({ specifier: match[2]!, typeOnly: match[1] !== undefined });
  }
  for (const match of text.matchAll(/(typeof\s+)?\bimport\(\s*["']([^"']+)["']\s*\)/g)) {
    found.push({ specifier: match[2]!, typeOnly: match[1] !== undefined });
  }
  return found;
}

/** Paths relative to `src/`, with forward slashes. */
const files = readdirSync(join(repository, "src"), { recursive: true, encoding: "utf8" })
  .map((path) => path.split(sep).join("/"))
  .filter((path) => path.endsWith(".ts"));
const texts = new Map(
  files.map((path) => [path, readFileSync(join(repository, "src", path), "utf8")]),
);
const sources = files.filter((path) => !path.endsWith(".test.ts"));

const rooms = new Map<string, Room>([...ROOMS, ...ENTRY_POINTS].map((room) => [room.name, room]));
/** First path segment: the room's name, or the entry point's file name. */
const roomName = (path: string): string => path.split("/")[0]!;
const resolveFrom = (path: string, specifier: string): string =>
  posix.join(posix.dirname(path), specifier);

/** What is wrong with one import of the file at `path`, if anything. */
function refuseImport(path: string, { specifier, typeOnly }: Import): string | undefined {
  const room = rooms.get(roomName(path));
  if (room === undefined) return `${path}: no room ${roomName(path)} in test/rooms.ts`;
  const refusal = `${path}: ${room.name} may not import ${specifier}`;
  if (specifier.startsWith("node:")) return room.node ? undefined : refusal;
  if (!specifier.startsWith(".")) {
    const name = specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
    return room.packages.includes(name) ? undefined : refusal;
  }
  if (!specifier.endsWith(".ts")) return `${path}: ${specifier} does not end in .ts`;
  const target = resolveFrom(path, specifier);
  if (target.startsWith("..")) return refusal;
  const name = roomName(target);
  if (name === room.name || room.rooms.includes(name)) return undefined;
  return typeOnly && room.types.includes(name) ? undefined : refusal;
}

describe("the source", () => {
  test("is seen", () => {
    expect(sources.length).toBeGreaterThan(MIN_FILES);
  });

  test("imports only what the room table allows", () => {
    const refused = sources.flatMap((path) =>
      importsOf(texts.get(path)!).flatMap((one) => refuseImport(path, one) ?? []),
    );
    expect(refused).toEqual([]);
  });

  test("keeps every file, tests included, in a known room", () => {
    expect(files.filter((path) => !rooms.has(roomName(path)))).toEqual([]);
  });

  test("has no import cycle", () => {
    const edges = new Map(
      sources.map((path) => [
        path,
        importsOf(texts.get(path)!)
          .filter((one) => one.specifier.startsWith(".") && !one.typeOnly)
          .map((one) => resolveFrom(path, one.specifier)),
      ]),
    );
    expect(findCycle(edges)).toBeUndefined();
  });

  test(`has no file above ${MAX_LINES} lines`, () => {
    const long = files.filter((path) => texts.get(path)!.split("\n").length - 1 > MAX_LINES);
    expect(long).toEqual([]);
  });

  test("heads every file with @file", () => {
    const head = /^(#!.*\n)?\/\*\*[\s*]*@file\s/;
    expect(sources.filter((path) => !head.test(texts.get(path)!))).toEqual([]);
  });
});

describe("the page", () => {
  const folder = join(repository, "web", "src");
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => name.split(sep).join("/"))
    .filter((name) => /\.tsx?$/.test(name));
  const text = (name: string): string => readFileSync(join(folder, name), "utf8");

  test("imports every room but those that need Node, and only the packages it lists", () => {
    const refused = names.flatMap((name) =>
      importsOf(text(name)).flatMap(({ specifier, typeOnly }) => {
        const target = posix.join("web/src", posix.dirname(name), specifier);
        const room = target.startsWith("src/") ? rooms.get(target.split("/")[1] ?? "") : undefined;
        if (specifier.startsWith("node:") || (room?.node && !typeOnly))
          return [`${name}: ${specifier}`];
        if (specifier.startsWith(".") || specifier.startsWith("virtual:")) return [];
        return PAGE_PACKAGES.some((one) => specifier === one || specifier.startsWith(`${one}/`))
          ? []
          : [`${name}: ${specifier}`];
      }),
    );
    expect(names.length).toBeGreaterThan(30);
    expect(refused).toEqual([]);
  });

  test("keeps its files short and headed", () => {
    expect(names.filter((name) => text(name).split("\n").length > MAX_PAGE_LINES)).toEqual([]);
    expect(names.filter((name) => !/^\/\*\*[\s*]*@file\s/.test(text(name)))).toEqual([]);
  });
});

describe("the room table", () => {
  test("names only rooms that it holds and has no cycle", () => {
    const edges = new Map(
      [...rooms.values()].map((room) => [room.name, [...room.rooms, ...room.types]]),
    );
    expect([...edges.values()].flat().filter((name) => !rooms.has(name))).toEqual([]);
    expect(findCycle(edges)).toBeUndefined();
  });

  test("is the table in docs/architecture.md", () => {
    const page = readFileSync(join(repository, "docs", "architecture.md"), "utf8");
    expect(page.replaceAll("\r\n", "\n")).toContain(formatRoomTable());
  });
});

describe("the checks themselves", () => {
  test("find every form of import", () => {
    const text = [
      `import { a } from "./a.ts";`,
      `import type { b } from "./b.ts";`,
      `import "./c.ts";`,
      `export {\n  d,\n  e,\n} from "./d.ts";`,
      `const e = await import("./e.ts");`,
      `// import("mentioned in a string")`,
    ].join("\n");
    expect(importsOf(text).map((one) => `${one.typeOnly ? "type " : ""}${one.specifier}`)).toEqual([
      ...["./a.ts", "type ./b.ts", "./c.ts", "./d.ts", "./e.ts"],
      "mentioned in a string",
    ]);
  });

  test.each([
    ["core/a.ts", "../ir/graph.ts"],
    ["core/a.ts", "node:fs"],
    ["core/a.ts", "commander"],
    ["core/a.ts", "./b.js"],
    ["core/a.ts", "../../test/rooms.ts"],
    ["report/a.ts", "../verify/verdict.ts"],
    ["index.ts", "./host/files.ts"],
    ["elsewhere/a.ts", "./b.ts"],
  ])("refuse %s importing %s", (path, specifier) => {
    expect(refuseImport(path, { specifier, typeOnly: false })).toBeDefined();
  });

  test("allow types where only types are allowed", () => {
    const specifier = "../verify/verdict.ts";
    expect(refuseImport("report/a.ts", { specifier, typeOnly: true })).toBeUndefined();
  });

  test("find a cycle", () => {
    const edges = new Map([
      ["a", ["b"]],
      ["b", ["c"]],
      ["c", ["b"]],
    ]);
    expect(findCycle(edges)).toEqual(["b", "c", "b"]);
  });
});

/** The nodes of one cycle, first node repeated at the end; undefined if there is none. */
function findCycle(edges: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (node: string): string[] | undefined => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node];
    if (done.has(node)) return undefined;
    path.push(node);
    for (const next of edges.get(node) ?? []) {
      const cycle = visit(next);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    done.add(node);
    return undefined;
  };
  for (const node of edges.keys()) {
    const cycle = visit(node);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}
