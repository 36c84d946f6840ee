/** @file The HTML report in a real browser: needs nothing else, keeps nobody out, looks right on screen and on paper. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openModelFile } from "../../src/convert/open.ts";
import { memorySource } from "../../src/core/byte-source.ts";
import { CAUSES } from "../../src/diagnose/causes.ts";
import { diagnose } from "../../src/diagnose/diagnose.ts";
import { loadNodeRuntime } from "../../src/host/ort-node.ts";
import { renderReport } from "../../src/report/html/report.ts";
import { launchBrowser, openPage, screenshot, seriousFaults } from "./browser.ts";
import { converted, trainingPth } from "./files.ts";

let browser: Browser;
let folder = "";

beforeAll(async () => {
  browser = await launchBrowser();
  folder = mkdtempSync(join(tmpdir(), "reparam-report-"));
});

afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

test("opens from disk without a request", async () => {
  const deploy = await converted(trainingPth, "pytorch", 1e-3);
  const { verification, findings } = await diagnose(
    await openModelFile(memorySource(trainingPth.name, trainingPth.bytes)),
    await openModelFile(memorySource("deploy.pth", deploy)),
    { runtime: loadNodeRuntime },
  );
  const path = join(folder, "report.html");
  writeFileSync(
    path,
    renderReport({
      command: "diagnose",
      causes: CAUSES,
      result: {
        training: { path: trainingPth.name, sizeBytes: trainingPth.bytes.byteLength },
        deploy: { path: "deploy.pth", sizeBytes: deploy.byteLength },
        verification,
        findings,
      },
    }),
  );
  const url = pathToFileURL(path).href;
  for (const width of [1280, 360]) {
    const { page, requests, finish } = await openPage(browser, url, { width });
    await page.getByText("The deploy model is a different function.").waitFor();
    await page.locator('[data-cause="bn-epsilon"]').waitFor();
    expect(requests).toEqual([url]);
    expect(await seriousFaults(page)).toEqual([]);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(overflow).toBeLessThanOrEqual(0);
    await screenshot(page, `report-${width}`);
    if (width === 1280) {
      const pdf = await page.pdf({ path: join(folder, "report.pdf"), format: "A4" });
      // A page object per sheet: the example's report fits on three.
      const sheets = readFileSync(join(folder, "report.pdf"), "latin1").match(/\/Type\s*\/Page\b/g);
      expect(pdf.byteLength).toBeGreaterThan(0);
      expect(sheets?.length).toBeLessThanOrEqual(3);
    }
    await finish();
  }
});
