/**
 * @file Conversion of a whole file, as a user runs it, beside copying the same bytes: `node dist/cli/main.js convert`
 * against `cp`, against `cp` followed by `sync` (the command flushes what it writes, cp does not), and, where a Python
 * with PyTorch is named, against the script that PyTorch users run (bench/convert_pytorch.py: neither checks nor
 * flushes). Interleaved; the medians and their ratio are printed with the largest peak memory.
 * Run: `npm run build && npx tsx bench/convert.ts [A0 B3 …] [--runs N] [--python .venv/bin/python]`
 */

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const main = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
if (!existsSync(main)) throw new Error("dist/ is missing: npm run build");
const script = fileURLToPath(new URL("convert_pytorch.py", import.meta.url));
const { nets, runs, python } = parseArguments(process.argv.slice(2));
const folder = mkdtempSync(join(tmpdir(), "reparam-bench-"));

interface Timed {
  readonly seconds: number;
  readonly peakMiB: number;
}

try {
  console.log(`${runs} runs each, interleaved; seconds are medians`);
  const columns = ["convert", "peak MiB", "cp", "cp+sync", "/cp", "/(cp+sync)"];
  if (python) columns.push("PyTorch", "peak MiB", "/PyTorch");
  console.log(["net       ", "  MiB", ...columns.map((name) => name.padStart(10))].join(" "));
  for (const net of nets) await benchNet(net);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function benchNet(net: string): Promise<void> {
  const train = join(folder, `${net}.pth`);
  await timed(process.execPath, [main, "create", net, "-o", train, "--seed", "1"]);
  const out = join(folder, "out.pth");
  const copy = join(folder, "copy.pth");
  const times: Record<"convert" | "cp" | "sync" | "pytorch", Timed[]> = {
    convert: [],
    cp: [],
    sync: [],
    pytorch: [],
  };
  for (let run = 0; run < runs; run++) {
    rmSync(out, { force: true });
    times.convert.push(await timed(process.execPath, [main, "convert", train, "-o", out]));
    rmSync(copy, { force: true });
    times.cp.push(await timed("cp", [train, copy]));
    rmSync(copy, { force: true });
    times.sync.push(await timed("sh", ["-c", `cp "$0" "$1" && sync "$1"`, train, copy]));
    if (!python) continue;
    rmSync(copy, { force: true });
    times.pytorch.push(await timed(python, [script, train, copy]));
  }
  rmSync(out, { force: true });
  rmSync(copy, { force: true });
  const convert = median(times.convert);
  const [cp, sync] = [median(times.cp), median(times.sync)];
  const seconds = (value: number): string => `${value.toFixed(2)} s`;
  const columns = [
    seconds(convert),
    peakOf(times.convert),
    seconds(cp),
    seconds(sync),
    (convert / cp).toFixed(1),
    (convert / sync).toFixed(1),
  ];
  if (python) {
    const peer = median(times.pytorch);
    columns.push(seconds(peer), peakOf(times.pytorch), (convert / peer).toFixed(2));
  }
  const mebibytes = (statSync(train).size / 2 ** 20).toFixed(0).padStart(5);
  console.log([net.padEnd(10), mebibytes, ...columns.map((text) => text.padStart(10))].join(" "));
}

function peakOf(times: readonly Timed[]): string {
  return Math.max(...times.map((one) => one.peakMiB)).toFixed(0);
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

function parseArguments(args: readonly string[]): {
  nets: readonly string[];
  runs: number;
  python: string | undefined;
} {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { runs: { type: "string", default: "5" }, python: { type: "string" } },
  });
  const runs = Number(values.runs);
  if (!Number.isSafeInteger(runs) || runs < 1) throw new Error("--runs wants a positive number");
  const nets = positionals.length > 0 ? positionals : ["A0", "B3"];
  return { nets, runs, python: values.python };
}
