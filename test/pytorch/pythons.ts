/** @file Finds the Pythons that can run the interop checks, and runs a script with one of them. */

import { spawnSync } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Python {
  readonly executable: string;
  /** e.g. `2.13.0+cpu` */
  readonly torch: string;
}

const repository = fileURLToPath(new URL("../..", import.meta.url));

/** Where a Python may be, best first; a version of PyTorch is used once. `REPARAM_PYTHON=none`: nowhere. */
function candidates(): string[] {
  const { REPARAM_PYTHON, REPARAM_PYTHON_113 } = process.env;
  if (REPARAM_PYTHON === "none") return [];
  return [
    REPARAM_PYTHON,
    REPARAM_PYTHON_113,
    join(repository, ".venv", "bin", "python"),
    join(repository, ".venv", "Scripts", "python.exe"),
    "/usr/bin/python3",
  ].filter((path) => path !== undefined && path !== "" && existsSync(path)) as string[];
}

/** Every Python found here that has torch and numpy, one for each version of torch. */
export function findPythons(): Python[] {
  const found = new Map<string, Python>();
  for (const executable of candidates()) {
    const probe = spawnSync(
      executable,
      ["-c", "import numpy, torch; print('torch', torch.__version__)"],
      { encoding: "utf8" },
    );
    const torch = /^torch (\S+)$/m.exec(probe.stdout ?? "")?.[1];
    if (torch !== undefined && !found.has(torch)) found.set(torch, { executable, torch });
  }
  return [...found.values()];
}

/** The standard output of a script of this folder. Throws with its error output if it fails. */
export function runPython(python: Python, script: string, args: readonly string[]): string {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const result = spawnSync(python.executable, [path, ...args], {
    encoding: "utf8",
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" },
    maxBuffer: 64 * 1024 * 1024,
  });
  if (result.status !== 0) {
    throw new Error(
      `${realpathSync(python.executable)} ${script}: ${result.stderr || result.error}`,
    );
  }
  return result.stdout;
}
