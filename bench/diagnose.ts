/**
 * @file Diagnosis of a whole pair of files, as a user runs it, weights only: a correct pair, one with another epsilon in
 * every block, one with the weights of another training run (no hypothesis explains a block: the longest search).
 * Prints seconds and the largest peak memory of the whole process, per block too.
 * Run: `npm run build && npx tsx bench/diagnose.ts [A0 B3 …] [--runs N]`
 */

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { repVggArch, repVggBlocks } from "../src/zoo/nets/index.ts";

const main = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
if (!existsSync(main)) throw new Error("dist/ is missing: npm run build");
const { nets, runs } = parseArguments(process.argv.slice(2));
const folder = mkdtempSync(join(tmpdir(), "reparam-bench-"));

interface Timed {
  readonly seconds: number;
  readonly peakMiB: number;
}

try {
  console.log(`${runs} runs each; seconds are medians`);
  console.log("net        pair        seconds  ms/block  peak MiB");
  for (const net of nets) await benchNet(net);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function benchNet(net: string): Promise<void> {
  const path = (name: string): string => join(folder, `${net}-${name}.pth`);
  const [train, other] = [path("train"), path("other")];
  await reparam("create", net, "-o", train, "--seed", "1");
  await reparam("create", net, "-o", other, "--seed", "2");
  const pairs = { correct: path("right"), epsilon: path("epsilon"), unrelated: path("unrelated") };
  await reparam("convert", train, "-o", pairs.correct, "--no-verify");
  await reparam("convert", train, "-o", pairs.epsilon, "--no-verify", "--eps", "1e-3");
  await reparam("convert", other, "-o", pairs.unrelated, "--no-verify");
  const blocks = repVggBlocks(repVggArch(net)).length;
  for (const [name, deploy] of Object.entries(pairs)) {
    const times: Timed[] = [];
    for (let run = 0; run < runs; run++) {
      times.push(await reparam("diagnose", train, deploy, "--weights-only"));
    }
    const sorted = times.map((one) => one.seconds).sort((a, b) => a - b);
    const seconds = sorted[Math.floor(sorted.length / 2)]!;
    const peak = Math.max(...times.map((one) => one.peakMiB));
    console.log(
      [
        net.padEnd(10),
        name.padEnd(10),
        `${seconds.toFixed(2)} s`.padStart(8),
        ((1000 * seconds) / blocks).toFixed(0).padStart(9),
        peak.toFixed(0).padStart(9),
      ].join(" "),
    );
  }
  for (const file of [train, other, ...Object.values(pairs)]) rmSync(file, { force: true });
}

/** Whole process, start to end. Peak resident memory is read from Linux while it runs; NaN elsewhere. */
async function reparam(...args: readonly string[]): Promise<Timed> {
  const begin = performance.now();
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  let peakMiB = Number.NaN;
  const watch = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      const kib = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]);
      if (kib > 0) peakMiB = kib / 1024;
    } catch {
      clearInterval(watch);
    }
  }, 5);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  clearInterval(watch);
  // 1 is the verdict "different", which two of the three pairs deserve.
  if (code !== 0 && code !== 1) throw new Error(`reparam ${args.join(" ")} ended with ${code}`);
  return { seconds: (performance.now() - begin) / 1000, peakMiB };
}

function parseArguments(args: readonly string[]): { nets: string[]; runs: number } {
  const at = args.indexOf("--runs");
  const runs = at < 0 ? 3 : Number(args[at + 1]);
  const nets = args.filter((_, i) => at < 0 || (i !== at && i !== at + 1));
  return { nets: nets.length > 0 ? nets : ["A0", "B3"], runs };
}
