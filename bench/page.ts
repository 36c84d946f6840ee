/**
 * @file The page under load: a checkpoint of a few hundred megabytes is dropped and converted. Prints the longest task of
 * the page's own thread while that happens, the time, and the peak memory of the browser's renderers.
 *
 *     npx tsx bench/page.ts [RepVGG-B1]
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { servePage } from "../src/cli/page-server.ts";
import { writePytorch } from "../src/formats/pytorch/write-pytorch.ts";
import { createFileSink } from "../src/host/file-sink.ts";
import { createRepVgg, repVggArch } from "../src/zoo/nets/index.ts";
import { launchBrowser, pageFolder } from "../test/web/browser.ts";

const name = process.argv[2] ?? "RepVGG-B1";
const folder = mkdtempSync(join(tmpdir(), "reparam-bench-page-"));

/** Megabytes that the renderers hold now; only where the system shows it. */
function rendererMegabytes(): number {
  let total = 0;
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      if (!command.includes("--type=renderer")) continue;
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      total += Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1000;
    } catch {
      // The process has ended meanwhile.
    }
  }
  return total;
}

async function main(): Promise<void> {
  const path = join(folder, `${name}.pth`);
  const { tensors } = createRepVgg(repVggArch(name), "training", { seed: 1 });
  const sink = await createFileSink(path);
  await writePytorch(
    [...tensors].map(([key, tensor]) => ({ name: key, tensor })),
    sink,
    {},
  );
  await sink.close();
  const server = await servePage(pageFolder, 0);
  const browser = await launchBrowser();
  const page = await browser.newPage();
  page.setDefaultTimeout(600_000);
  await page.goto(server.url);
  await page.evaluate(() => {
    const tasks: number[] = [];
    Object.assign(globalThis, { longTasks: tasks });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) tasks.push(entry.duration);
    }).observe({ entryTypes: ["longtask"] });
  });
  const before = rendererMegabytes();
  let peak = before;
  const sampler = setInterval(() => {
    peak = Math.max(peak, rendererMegabytes());
  }, 50);
  await page.locator(".slot-training input[type=file]").setInputFiles(path);
  await page.getByRole("button", { name: "Convert to .pth" }).waitFor();
  const start = performance.now();
  await page.getByRole("button", { name: "Convert to .pth" }).click();
  await page.getByRole("button", { name: /^Download/ }).waitFor();
  const seconds = (performance.now() - start) / 1000;
  clearInterval(sampler);
  const tasks = await page.evaluate(
    () => (globalThis as unknown as { longTasks: number[] }).longTasks,
  );
  console.log(`${name}: converted, read back and compared in ${seconds.toFixed(2)} s`);
  console.log(
    `tasks above 50 ms on the page's thread: ${tasks.length}, longest ${Math.max(0, ...tasks).toFixed(0)} ms`,
  );
  console.log(`renderer memory: ${before.toFixed(0)} MB before, ${peak.toFixed(0)} MB at the peak`);
  await browser.close();
  await server.close();
}

try {
  await main();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
