import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type PageServer, servePage } from "./page-server.ts";

let root = "";
let server: PageServer;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "reparam-page-"));
  mkdirSync(join(root, "page", "assets"), { recursive: true });
  writeFileSync(join(root, "secret.txt"), "secret");
  writeFileSync(join(root, "page", "index.html"), "<p>page</p>");
  writeFileSync(join(root, "page", "assets", "a.wasm"), "wasm");
  server = await servePage(join(root, "page"), 0);
});

afterAll(async () => {
  await server.close();
  rmSync(root, { recursive: true, force: true });
});

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** `fetch` would tidy the path before it is sent. */
function ask(path: string, options: { host?: string; method?: string } = {}): Promise<Answer> {
  const { port, host } = new URL(server.url);
  return new Promise((resolve, reject) => {
    const { method = "GET" } = options;
    const headers = { host: options.host ?? host };
    request({ host: "127.0.0.1", port, path, method, headers }, (response) => {
      let text = "";
      response.on("data", (piece: Buffer) => {
        text += piece.toString();
      });
      response.on("end", () =>
        resolve({ status: response.statusCode, headers: response.headers, text }),
      );
    })
      .on("error", reject)
      .end();
  });
}

test("serves the page with the headers that wasm threads need", async () => {
  const { status, headers, text } = await ask("/");
  expect([status, text]).toEqual([200, "<p>page</p>"]);
  expect(headers["content-type"]).toBe("text/html; charset=utf-8");
  expect(headers["cross-origin-opener-policy"]).toBe("same-origin");
  expect(headers["cross-origin-embedder-policy"]).toBe("require-corp");
  expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
});

test("names wasm as browsers want it, and answers HEAD without a body", async () => {
  const { headers, text } = await ask("/assets/a.wasm?v=1", { method: "HEAD" });
  expect(headers["content-type"]).toBe("application/wasm");
  expect([headers["content-length"], text]).toEqual(["4", ""]);
});

test.each([
  "/../secret.txt",
  "/..%2fsecret.txt",
  "/%2e%2e/secret.txt",
  "/assets/../../secret.txt",
  "/..%5csecret.txt",
  "//secret.txt",
  "/assets",
  "/%",
  "/index.html%00",
])("has nothing at %s", async (path) => {
  const { status, text } = await ask(path);
  expect([status, text]).toEqual([404, ""]);
});

test("answers neither to foreign names nor to other methods", async () => {
  expect((await ask("/", { host: "evil.example" })).status).toBe(421);
  expect((await ask("/", { method: "POST" })).status).toBe(405);
  expect((await ask("/", { host: `localhost:${new URL(server.url).port}` })).status).toBe(200);
});

test("says that the page is not built, and that a port is taken", async () => {
  await expect(servePage(join(root, "nothing"), 0)).rejects.toThrow("the page is not built");
  const port = Number(new URL(server.url).port);
  await expect(servePage(join(root, "page"), port)).rejects.toThrow(`port ${port}: is in use`);
});
