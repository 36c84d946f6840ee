/** @file Runs Vitest on throw-away test files and reads what the reporter printed last. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";

const repository = fileURLToPath(new URL("..", import.meta.url));
const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function runVitest(files: Readonly<Record<string, string>>): { lastLine: string; status: number } {
  const folder = mkdtempSync(join(tmpdir(), "reparam-reporter-"));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const result = spawnSync(
    process.execPath,
    [
      join(repository, "node_modules/vitest/vitest.mjs"),
      ...["run", "--root", folder, "--globals", "--reporter=dot"],
      `--reporter=${join(repository, "test/closing-line-reporter.ts")}`,
    ],
    { cwd: folder, encoding: "utf8" },
  );
  return {
    lastLine: result.stdout.trimEnd().split("\n").at(-1) ?? "",
    status: result.status ?? -1,
  };
}

test("counts passed and skipped tests and exits with 0", () => {
  const run = runVitest({
    "a.test.js": `test("a", () => {}); test("b", () => {});`,
    "b.test.js": `test.skip("c", () => {}); test.todo("d");`,
  });
  expect(run).toEqual({ lastLine: "2 passed, 0 failed, 2 skipped", status: 0 });
});

test("counts a failed test, a file that does not load and an error outside every test", () => {
  const run = runVitest({
    "a.test.js": `test("a", () => {}); test("b", () => { throw new Error("b"); });`,
    "b.test.js": `throw new Error("not loaded");`,
    "c.test.js": `test("c", () => { Promise.reject(new Error("unhandled")); });`,
  });
  expect(run).toEqual({ lastLine: "2 passed, 3 failed, 0 skipped", status: 1 });
});

test("fails a run in which no test was executed", () => {
  const run = runVitest({ "a.test.js": `test.skip("a", () => {});` });
  expect(run).toEqual({ lastLine: "0 passed, 0 failed, 1 skipped", status: 1 });
});
