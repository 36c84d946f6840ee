/** @file The optional folder of larger test data: `REPARAM_DATA`, or `shared` beside the repository. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Its path; undefined where there is none (then tests over it say that they were not run). */
export function dataFolder(): string | undefined {
  const beside = fileURLToPath(new URL("../../shared", import.meta.url));
  const folder = process.env["REPARAM_DATA"] ?? beside;
  return existsSync(join(folder, "fixtures")) ? folder : undefined;
}
