/**
 * @file `npm start [-- ARGUMENTS]`: builds if needed, then runs the command line. Without arguments it runs the demo:
 * the main job, start to finish, on the checkpoint in examples/data that examples/train-default.ts trained.
 */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process, { argv, execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { ensureBuild } from "./build.mjs";

const repository = fileURLToPath(new URL("..", import.meta.url));

await ensureBuild();
const given = argv.slice(2);
const checkpoint = join(repository, "examples", "data", "repvgg-mnist.pth");
const result = spawnSync(
  execPath,
  [
    join(repository, "dist", "cli", "main.js"),
    ...(given.length > 0 ? given : ["demo", checkpoint, "--input", "4x1x28x28"]),
  ],
  { stdio: "inherit" },
);
if (result.error !== undefined) throw result.error;
process.exitCode = result.status ?? 130;
