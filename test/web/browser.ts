/**
 * @file The built page in a real browser. Every page that a test opens is watched: an error on the console, an exception
 * or a request to anywhere else fails the test.
 */

import { mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import chromiumPackage from "@sparticuz/chromium";
import { type Browser, chromium, type Page } from "playwright-core";
import { expect } from "vitest";

export const repository: string = fileURLToPath(new URL("../..", import.meta.url));
export const pageFolder: string = join(repository, "dist", "web");
const screenshots = join(repository, "test", "web", "screenshots");

/** An installed browser where `REPARAM_CHROME` names one, else the one in node_modules. */
export async function launchBrowser(): Promise<Browser> {
  const installed = process.env["REPARAM_CHROME"];
  const executablePath = installed ?? (await chromiumPackage.executablePath());
  // Not the package's own arguments: they switch web security off and run everything in one process.
  return await chromium.launch({ executablePath, args: ["--no-sandbox"], headless: true });
}

export interface WatchedPage {
  readonly page: Page;
  /** Addresses asked for since the page was opened. */
  readonly requests: readonly string[];
  /** Closes the page; fails on console errors, exceptions and foreign requests. */
  finish(): Promise<void>;
}

export interface OpenOptions {
  readonly width?: number;
  readonly scheme?: "light" | "dark";
}

export async function openPage(
  browser: Browser,
  url: string,
  { width = 1280, scheme = "light" }: OpenOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: scheme,
    acceptDownloads: true,
  });
  // Shared machines are slow at times; a test that waits in vain fails anyway.
  context.setDefaultTimeout(90_000);
  const page = await context.newPage();
  const requests: string[] = [];
  const complaints: string[] = [];
  context.on("request", (request) => {
    requests.push(request.url());
    const own = url.startsWith("file:") ? url : new URL(url).origin;
    const isOwn = request.url().startsWith(own) || /^(blob|data):/.test(request.url());
    if (!isOwn) complaints.push(`request to ${request.url()}`);
  });
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(`exception: ${error.message}`));
  await page.goto(url);
  return {
    page,
    requests,
    finish: async () => {
      await context.close();
      expect(complaints).toEqual([]);
    },
  };
}

export interface DroppedFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Drops files on the page, or on one of its slots, as a person would. */
export async function dropFiles(
  page: Page,
  files: readonly DroppedFile[],
  target = "body",
): Promise<void> {
  const sent = files.map(({ name, bytes }) => [name, Buffer.from(bytes).toString("base64")]);
  const transfer = await page.evaluateHandle((list) => {
    const data = new DataTransfer();
    for (const [name, text] of list) {
      const bytes = Uint8Array.from(atob(text!), (character) => character.charCodeAt(0));
      data.items.add(new File([bytes], name!));
    }
    return data;
  }, sent);
  await page.dispatchEvent(target, "drop", { dataTransfer: transfer });
}

/** What a click on `button` downloads. */
export async function downloadBy(page: Page, button: string | RegExp): Promise<DroppedFile> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: button }).click(),
  ]);
  return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
}

/** Of the whole page, into the folder that is easy to look at. */
export async function screenshot(page: Page, name: string): Promise<void> {
  mkdirSync(screenshots, { recursive: true });
  await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
}

/** The text of axe-core, to be run inside the page. */
const axe = readFileSync(join(repository, "node_modules", "axe-core", "axe.min.js"), "utf8");

/** What keeps people out, seriously: one line per rule and element. */
export async function seriousFaults(page: Page): Promise<string[]> {
  // The page's own policy forbids inline scripts; evaluate is not bound by it.
  await page.evaluate(axe);
  return await page.evaluate(async () => {
    interface Violation {
      readonly id: string;
      readonly impact: string;
      readonly nodes: readonly { readonly html: string }[];
    }
    const runner = (
      globalThis as unknown as { axe: { run(): Promise<{ violations: Violation[] }> } }
    ).axe;
    const { violations } = await runner.run();
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 160)}`));
  });
}

export interface PlainHost {
  readonly url: string;
  close(): void;
}

/** A static host as people rent them: under a sub-path, without isolation headers. */
export async function plainHost(prefix: string): Promise<PlainHost> {
  const types: Record<string, string> = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
  };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://host");
    const name = pathname.startsWith(prefix) ? pathname.slice(prefix.length) || "index.html" : "";
    try {
      const body = readFileSync(join(pageFolder, name));
      response.setHeader("Content-Type", types[extname(name)] ?? "application/octet-stream");
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${prefix}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
