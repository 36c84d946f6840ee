/** Runs the property tests with a seed not used before: `npm run test:random`. Other arguments go to vitest. */

import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import process from "node:process";

const seed = process.env.REPARAM_TEST_SEED ?? String(randomInt(2 ** 31));
console.log(`REPARAM_TEST_SEED=${seed}`);
const vitest = ["node_modules/vitest/vitest.mjs", "run", ...process.argv.slice(2)];
const { status } = spawnSync(process.execPath, vitest, {
  env: { ...process.env, REPARAM_TEST_SEED: seed },
  stdio: "inherit",
});
process.exitCode = status ?? 1;
