/** @file What the page looks like at several sizes, for people to look at; and that nobody is kept out. */

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type PageServer, servePage } from "../../src/cli/page-server.ts";
import { launchBrowser, openPage, pageFolder, screenshot, seriousFaults } from "./browser.ts";

let browser: Browser;
let server: PageServer;

beforeAll(async () => {
  server = await servePage(pageFolder, 0);
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser?.close();
  await server?.close();
});

const SIZES = [
  ["desktop", 1280],
  ["phone", 360],
] as const;

test.each(
  SIZES.flatMap(([name, width]) =>
    (["light", "dark"] as const).map((scheme) => [name, width, scheme] as const),
  ),
)("%s (%d px), %s", async (name, width, scheme) => {
  const { page, finish } = await openPage(browser, server.url, { width, scheme });
  await page.getByText("Drop files anywhere").waitFor();
  expect(await seriousFaults(page)).toEqual([]);
  await screenshot(page, `${name}-${scheme}-empty`);
  await page.getByRole("button", { name: "a conversion that went wrong" }).click();
  await page.getByText("Noise floor.").waitFor();
  await page.getByText("What to do.").waitFor();
  await page.getByRole("button", { name: /stage2\.1/ }).click();
  await page.getByText("Cancellation").waitFor();
  expect(await seriousFaults(page)).toEqual([]);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(overflow).toBeLessThanOrEqual(0);
  await screenshot(page, `${name}-${scheme}-compared`);
  await finish();
});
