/** @file Builds the page before the suite, so that it is never an old one that is tested. */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export default function setup(): void {
  const repository = fileURLToPath(new URL("../..", import.meta.url));
  const script = join(repository, "scripts", "build-web.mjs");
  const result = spawnSync(process.execPath, [script], { cwd: repository, encoding: "utf8" });
  if (result.status !== 0) throw new Error(`the page cannot be built:\n${result.stderr}`);
}
