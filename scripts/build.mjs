/**
 * @file Builds `dist/` from `src/` with tsc, into a folder beside it that then takes its place: a reader never sees half
 * a build, and files of deleted sources do not stay behind. The command line is bundled: loading its modules one by one
 * takes a quarter of a short command's time. `ensureBuild` does it only if `dist/` is missing or older.
 */

import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from "node:fs";
import { join } from "node:path";
import process, { argv, execPath, pid } from "node:process";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const repository = fileURLToPath(new URL("..", import.meta.url));
const dist = join(repository, "dist");
/** A build takes seconds; an older lock was left by a build that was killed. */
const STALE_LOCK_MS = 120_000;

/** Newest modification time of what the build reads; folders count, so that a deleted file does too. */
function newestSourceMs() {
  const source = join(repository, "src");
  const paths = readdirSync(source, { recursive: true })
    .filter((path) => !path.endsWith(".test.ts"))
    .map((path) => join(source, path));
  for (const name of [
    "tsconfig.json",
    "tsconfig.build.json",
    "package.json",
    "scripts/build.mjs",
  ]) {
    paths.push(join(repository, name));
  }
  return Math.max(...paths.map((path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0));
}

function isFresh() {
  const built = statSync(dist, { throwIfNoEntry: false });
  return built !== undefined && built.mtimeMs >= newestSourceMs();
}

/** Bundles the command line into `folder`, in place of its compiled modules; packages stay outside. */
async function bundleCommandLine(folder) {
  const bundle = await rolldown({
    cwd: repository,
    input: "src/cli/main.ts",
    platform: "node",
    external: (id) => !/^[./\\]|^[A-Za-z]:/.test(id),
    onLog: (level, log, handle) => {
      // A module that one command loads late and another at once: that is meant.
      if (log.code !== "INEFFECTIVE_DYNAMIC_IMPORT") handle(level, log);
    },
  });
  rmSync(folder, { recursive: true });
  await bundle.write({
    dir: folder,
    format: "esm",
    chunkFileNames: "[name]-[hash].js",
    sourcemap: true,
    sourcemapExcludeSources: true,
  });
  await bundle.close();
}

/** Builds whatever the state of `dist/`. Throws if tsc reports an error. */
export async function build() {
  const fresh = join(repository, `dist.tmp-${pid}`);
  const old = join(repository, `dist.tmp-old-${pid}`);
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh);
  const { mtime } = statSync(fresh);
  try {
    const tsc = join(repository, "node_modules", "typescript", "bin", "tsc");
    const result = spawnSync(
      execPath,
      [tsc, "-p", "tsconfig.build.json", "--outDir", fresh, "--noEmitOnError"],
      { cwd: repository, encoding: "utf8" },
    );
    if (result.status !== 0) throw new Error(`tsc failed:\n${result.stdout}${result.stderr}`);
    await bundleCommandLine(join(fresh, "cli"));
    // Two renames: whoever runs the old build meanwhile finds one or the other.
    if (existsSync(dist)) renameSync(dist, old);
    renameSync(fresh, dist);
    // The page is built by build-web.mjs; it stays.
    if (existsSync(join(old, "web"))) renameSync(join(old, "web"), join(dist, "web"));
    // The folder is as old as the sources that were read, not as the end of the build.
    utimesSync(dist, mtime, mtime);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
    rmSync(old, { recursive: true, force: true });
  }
}

/** Builds if `dist/` is missing or older than the sources; processes that ask at once wait for one build. */
export async function ensureBuild() {
  const lock = join(repository, "node_modules", ".reparam-build-lock");
  while (!isFresh()) {
    try {
      mkdirSync(lock);
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      const age = Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
      if (age > STALE_LOCK_MS) rmSync(lock, { recursive: true, force: true });
      await new Promise((resolve) => setTimeout(resolve, 50));
      continue;
    }
    try {
      await build();
    } finally {
      rmSync(lock, { recursive: true, force: true });
    }
    return;
  }
}

if (argv[1] !== undefined && existsSync(argv[1]) && fileURLToPath(import.meta.url) === argv[1]) {
  try {
    await build();
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
