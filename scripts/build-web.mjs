/**
 * @file Builds the page with Vite into a folder beside `dist/` and moves it to `dist/web`. The age of `dist/` stays what
 * it was: it says how old the compiled sources are.
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import process, { execPath, pid } from "node:process";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("..", import.meta.url));
const dist = join(repository, "dist");
const fresh = join(repository, `dist.tmp-web-${pid}`);

try {
  const vite = join(repository, "node_modules", "vite", "bin", "vite.js");
  const args = [vite, "build", "web", "--outDir", fresh, "--emptyOutDir", "--logLevel", "warn"];
  // A test runner sets NODE_ENV to "test", with which Preact's development form would be built, tested and measured.
  const env = { ...process.env, NODE_ENV: "production" };
  const result = spawnSync(execPath, args, { cwd: repository, env, stdio: "inherit" });
  if (result.status !== 0) process.exitCode = 1;
  else {
    const mtime = existsSync(dist) ? statSync(dist).mtime : new Date(0);
    mkdirSync(dist, { recursive: true });
    rmSync(join(dist, "web"), { recursive: true, force: true });
    renameSync(fresh, join(dist, "web"));
    utimesSync(dist, mtime, mtime);
  }
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
