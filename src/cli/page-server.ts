/**
 * @file Serves the built page on the loopback interface. What may be asked for is the list of files that were there at
 * the start, so no address can lead outside the folder.
 */

import { createReadStream, readdirSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, sep } from "node:path";
import { ReparamError } from "../core/errors.ts";

const LOOPBACK = "127.0.0.1";

export interface PageServer {
  /** `http://127.0.0.1:PORT/` */
  readonly url: string;
  close(): Promise<void>;
}

const MIME_TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** Wasm threads need the first two; the rest keeps other pages out. */
const HEADERS: Readonly<Record<string, string>> = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cache-Control": "no-cache",
};

/**
 * Serves `folder`. `port` 0 takes a free one.
 *
 * @throws not-found when there is no page in the folder; usage when the port is taken
 */
export async function servePage(folder: string, port: number): Promise<PageServer> {
  const files = listFiles(folder);
  if (!files.has("/index.html")) {
    throw new ReparamError("not-found", {
      where: folder,
      what: "the page is not built",
      fix: "Run npm run web:build, or install the published package",
    });
  }
  const server = createServer((request, response) => answer(files, request, response));
  await listen(server, port);
  const { port: own } = server.address() as AddressInfo;
  return {
    url: `http://${LOOPBACK}:${own}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Files by address. */
function listFiles(folder: string): Map<string, string> {
  let names: string[];
  try {
    names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  } catch {
    return new Map();
  }
  return new Map(
    names
      .map((name) => [`/${name.split(sep).join("/")}`, join(folder, name)] as const)
      .filter(([, path]) => statSync(path).isFile()),
  );
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const what =
        cause.code === "EADDRINUSE"
          ? "is in use"
          : `cannot be opened (${cause.code ?? cause.message})`;
      const fix = "Give another one, or none for a free one";
      reject(new ReparamError("usage", { where: `port ${port}`, what, fix, cause }));
    });
    server.listen(port, LOOPBACK, () => resolve());
  });
}

function answer(
  files: ReadonlyMap<string, string>,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const refuse = (status: number): void => {
    response.writeHead(status, { ...HEADERS, "Content-Type": "text/plain" }).end();
  };
  if (request.method !== "GET" && request.method !== "HEAD") {
    refuse(405);
    return;
  }
  // A foreign name that resolves to this machine is somebody else's page asking (DNS rebinding).
  const { port } = request.socket.address() as AddressInfo;
  const hosts = [`${LOOPBACK}:${port}`, `localhost:${port}`];
  if (!hosts.includes(request.headers.host ?? "")) {
    refuse(421);
    return;
  }
  const path = files.get(addressOf(request.url ?? "/"));
  const length = path === undefined ? path : statSync(path, { throwIfNoEntry: false })?.size;
  if (path === undefined || length === undefined) {
    refuse(404);
    return;
  }
  const type = MIME_TYPES[extname(path)] ?? "application/octet-stream";
  response.writeHead(200, { ...HEADERS, "Content-Type": type, "Content-Length": length });
  if (request.method === "HEAD") response.end();
  else
    createReadStream(path)
      .on("error", () => response.destroy())
      .pipe(response);
}

function addressOf(url: string): string {
  const path = url.split(/[?#]/, 1)[0] ?? "/";
  try {
    const decoded = decodeURIComponent(path);
    return decoded.endsWith("/") ? `${decoded}index.html` : decoded;
  } catch {
    return "";
  }
}
