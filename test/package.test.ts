/**
 * @file Packs the package as it would be published and uses it from outside: both entry points import, the command runs,
 * only declared dependencies are needed, and publint has nothing to say.
 */

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ensureBuild } from "../scripts/build.mjs";

const repository = fileURLToPath(new URL("..", import.meta.url));
const manifest: { version: string; dependencies: Record<string, string> } = JSON.parse(
  readFileSync(join(repository, "package.json"), "utf8"),
);
let root = "";
let installed = "";

beforeAll(async () => {
  await ensureBuild();
  root = mkdtempSync(join(tmpdir(), "reparam-package-"));
  run("npm", ["pack", "--ignore-scripts", "--pack-destination", root], repository);
  const archive = readdirSync(root).find((name) => name.endsWith(".tgz"))!;
  run("tar", ["-xzf", archive], root);
  installed = join(root, "package");
  // An install without a network: the repository's own copies of the declared dependencies, and nothing else.
  for (const name of Object.keys(manifest.dependencies)) {
    const link = join(installed, "node_modules", ...name.split("/"));
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(repository, "node_modules", ...name.split("/")), link, "junction");
  }
  mkdirSync(join(root, "node_modules"));
  symlinkSync(installed, join(root, "node_modules", "reparam"), "junction");
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Standard output; fails the test unless the program exits with 0. */
function run(program: string, args: readonly string[], cwd: string): string {
  // npm is a batch file on Windows, which only a shell can start.
  const shell = process.platform === "win32" && program === "npm";
  const result = spawnSync(program, args, { cwd, encoding: "utf8", shell });
  expect(result.status, `${program} ${args.join(" ")}: ${result.stderr}`).toBe(0);
  return result.stdout;
}

test.each(["reparam", "reparam/node"])("%s imports from outside", (entry) => {
  const script = `import * as api from "${entry}"; console.log(Object.keys(api).length);`;
  const names = Number(run(process.execPath, ["--input-type=module", "-e", script], root));
  expect(names).toBeGreaterThan(0);
});

test("importing reparam/node loads no native library", () => {
  // Nothing is decoded or run yet: sharp and onnxruntime-node cost time and memory on first use only.
  const script = `import "reparam/node"; console.log(process.report.getReport().sharedObjects.join("\\n"));`;
  const libraries = run(process.execPath, ["--input-type=module", "-e", script], root);
  expect(libraries).toMatch(/libc|ntdll|libSystem/);
  expect(libraries).not.toMatch(/onnxruntime|sharp|vips/);
});

test("the command says its version", () => {
  const main = join(installed, "dist", "cli", "main.js");
  expect(run(process.execPath, [main, "--version"], root).trim()).toBe(manifest.version);
});

test("the package holds the build and the documents, no tests and no sources", () => {
  const files = readdirSync(installed, { recursive: true, encoding: "utf8" })
    .map((path) => path.split(sep).join("/"))
    // The page has its example checkpoint with it.
    .filter((path) => !path.startsWith("node_modules") && !path.startsWith("dist/web/"));
  expect(files).toEqual(
    expect.arrayContaining([
      ...["LICENSE", "README.md", "dist/index.d.ts"],
      // Messages point to these.
      ...["docs/causes.md", "docs/recipes.md", "schema/recipe.schema.json"],
    ]),
  );
  expect(files.filter((path) => /\.test\.|(?<!\.d)\.ts$|\.pth$/.test(path))).toEqual([]);
});

test("publint has nothing to say", async () => {
  const { messages, pkg } = await publint({ pkgDir: installed, pack: false, strict: true });
  expect(messages.map((message) => formatMessage(message, pkg!))).toEqual([]);
});
