/**
 * @file Conversion of a whole file, as a user runs it, beside copying the same bytes: `node dist/cli/main.js convert`
 * against `cp` and against `cp` followed by `sync` (the command flushes what it writes, cp does not). Interleaved;
 * the medians and their ratio are printed with the largest peak memory.
 * Run: `npm run build && npx tsx bench/convert.ts [A0 B3 …] [--runs N]`
 */

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
if (!existsSync(main)) throw new Error("dist/ is missing: npm run build");
const { nets, runs } = parseArguments(process.argv.slice(2));
const folder = mkdtempSync(join(tmpdir(), "reparam-bench-"));

interface Timed {
  readonly seconds: number;
  readonly peakMiB: number;
}

try {
  console.log(`${runs} runs each, interleaved; seconds are medians`);
  console.log("net         MiB   convert       cp  cp+sync  /cp  /(cp+sync)  peak MiB");
  for (const net of nets) await benchNet(net);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function benchNet(net: string): Promise<void> {
  const train = join(folder, `${net}.pth`);
  await timed(process.execPath, [main, "create", net, "-o", train, "--seed", "1"]);
  const out = join(folder, "out.pth");
  const copy = join(folder, "copy.pth");
  const times: Record<"convert" | "cp" | "sync", Timed[]> = { convert: [], cp: [], sync: [] };
  for (let run = 0; run < runs; run++) {
    rmSync(out, { force: true });
    times.convert.push(await timed(process.execPath, [main, "convert", train, "-o", out]));
    rmSync(copy, { force: true });
    times.cp.push(await timed("cp", [train, copy]));
    rmSync(copy, { force: true });
    times.sync.push(await timed("sh", ["-c", `cp "$0" "$1" && sync "$1"`, train, copy]));
  }
  rmSync(out, { force: true });
  rmSync(copy, { force: true });
  const convert = median(times.convert);
  const [cp, sync] = [median(times.cp), median(times.sync)];
  const peak = Math.max(...times.convert.map((one) => one.peakMiB));
  const mebibytes = statSync(train).size / 2 ** 20;
  console.log(
    [
      net.padEnd(10),
      mebibytes.toFixed(0).padStart(5),
      `${convert.toFixed(2)} s`.padStart(9),
      `${cp.toFixed(2)} s`.padStart(8),
      `${sync.toFixed(2)} s`.padStart(8),
      (convert / cp).toFixed(1).padStart(4),
      (convert / sync).toFixed(1).padStart(11),
      peak.toFixed(0).padStart(9),
    ].join(" "),
  );
}

function median(times: readonly Timed[]): number {
  const sorted = times.map((one) => one.seconds).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

/** Whole process, start to end. Peak resident memory is read from Linux while it runs; NaN elsewhere. */
async function timed(command: string, args: readonly string[]): Promise<Timed> {
  const begin = performance.now();
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"] });
  let peakMiB = Number.NaN;
  const watch = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      const kib = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]);
      if (kib > 0) peakMiB = kib / 1024;
    } catch {
      // The process has ended, or this is no Linux.
    }
  }, 10);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", resolve);
  });
  clearInterval(watch);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: exit code ${code}`);
  return { seconds: (performance.now() - begin) / 1000, peakMiB };
}

function parseArguments(args: readonly string[]): { nets: readonly string[]; runs: number } {
  const at = args.indexOf("--runs");
  const given = args.filter((arg, i) => arg !== "--runs" && (at < 0 || i !== at + 1));
  const runs = at < 0 ? 5 : Number(args[at + 1]);
  if (!Number.isSafeInteger(runs) || runs < 1) throw new Error("--runs wants a positive number");
  return { nets: given.length > 0 ? given : ["A0", "B3"], runs };
}
