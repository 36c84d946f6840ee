/** @file Runs the built command line in temporary folders, as a user would. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll } from "vitest";
import { ensureBuild } from "../../scripts/build.mjs";
import { memorySink } from "../../src/core/byte-sink.ts";
import type { LazyTensor } from "../../src/core/tensor.ts";
import { writePytorch } from "../../src/formats/pytorch/write-pytorch.ts";
import { createRepVgg, type RepVggArch } from "../../src/zoo/nets/index.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const main = join(repository, "dist", "cli", "main.js");
/** Not a terminal, and no colours whatever the caller's terminal wants. */
const ENVIRONMENT = { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined };

export interface CliResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliFolder {
  /** The built program. */
  readonly main: string;
  /** Absolute path of a file in the folder. */
  path(name: string): string;
  run(...args: string[]): CliResult;
  /** Runs with `--json` and parses what comes out. */
  json(...args: string[]): { status: number | null; document: Record<string, unknown> };
  start(...args: string[]): ChildProcess;
  /** Runs, and says which source files and packages were loaded: `src/core/errors.ts`, `node_modules/commander`. */
  loadedBy(...args: string[]): {
    readonly status: number | null;
    readonly sources: readonly string[];
  };
  write(name: string, content: string | Uint8Array): string;
}

/** A folder for one test file; removed at the end. The build is made first if it is out of date. */
export function cliFolder(): CliFolder {
  let folder = "";
  beforeAll(async () => {
    await ensureBuild();
    folder = mkdtempSync(join(tmpdir(), "reparam-cli-"));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const run = (...args: string[]): CliResult => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
      cwd: folder,
      encoding: "utf8",
      env: ENVIRONMENT,
      maxBuffer: 2 ** 26,
    });
    return { status, stdout, stderr };
  };
  return {
    main,
    path: (name) => join(folder, name),
    run,
    json: (...args) => {
      const { status, stdout } = run(...args, "--json");
      return { status, document: JSON.parse(stdout) as Record<string, unknown> };
    },
    loadedBy: (...args) => {
      const coverage = mkdtempSync(join(folder, "coverage-"));
      const { status } = spawnSync(process.execPath, [main, ...args], {
        cwd: folder,
        env: { ...ENVIRONMENT, NODE_V8_COVERAGE: coverage },
      });
      return { status, sources: loadedSources(coverage) };
    },
    start: (...args) => spawn(process.execPath, [main, ...args], { cwd: folder, env: ENVIRONMENT }),
    write: (name, content) => {
      writeFileSync(join(folder, name), content);
      return name;
    },
  };
}

/** What Node's coverage files of one run say was loaded; a chunk of the build stands for the sources in it. */
function loadedSources(coverage: string): string[] {
  const loaded = new Set<string>();
  for (const file of readdirSync(coverage)) {
    const { result } = JSON.parse(readFileSync(join(coverage, file), "utf8")) as Coverage;
    for (const { url } of result) {
      if (!url.startsWith("file:")) continue;
      const path = fileURLToPath(url);
      const [, dependency] = /node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(path) ?? [];
      if (dependency !== undefined) loaded.add(`node_modules/${dependency}`);
      if (dependency !== undefined || !existsSync(`${path}.map`)) continue;
      const { sources } = JSON.parse(readFileSync(`${path}.map`, "utf8")) as { sources: string[] };
      for (const source of sources) {
        loaded.add(
          relative(repository, join(dirname(path), source))
            .split(sep)
            .join("/"),
        );
      }
    }
  }
  return [...loaded];
}

interface Coverage {
  readonly result: readonly { readonly url: string }[];
}

/** Small, but with every kind of block: with and without an identity branch, with groups. */
export const SMALL_ARCH: RepVggArch = {
  layout: "repvgg",
  inputChannels: 3,
  stem: 8,
  stageBlocks: [1, 2, 1, 1],
  stageWidths: [8, 16, 16, 32],
  groups: [1, 1, 4, 1, 1, 1],
  classes: 10,
  se: "none",
  auxHeads: false,
};

/** The small net's training form as the bytes of a `.pth`, changed by `edit` before it is written. */
export async function smallCheckpoint(
  edit: (tensors: Map<string, LazyTensor>) => void = () => {},
): Promise<Uint8Array> {
  const tensors = new Map(createRepVgg(SMALL_ARCH, "training", { seed: 11 }).tensors);
  edit(tensors);
  const sink = memorySink();
  await writePytorch(
    [...tensors].map(([name, tensor]) => ({ name, tensor })),
    sink,
  );
  return sink.bytes();
}
