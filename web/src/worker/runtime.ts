/** @file onnxruntime-web, loaded when something is run and not before. */

import { createRuntime, type OrtModule, type Runtime } from "../../../src/runtime/session.ts";

export type Provider = "wasm" | "webgpu";

const loaded = new Map<Provider, Promise<Runtime>>();

/** @throws what the import throws when the page's own files cannot be fetched */
export function loadRuntime(provider: Provider): Promise<Runtime> {
  const known = loaded.get(provider);
  if (known) return known;
  const loading = load(provider);
  loaded.set(provider, loading);
  loading.catch(() => loaded.delete(provider));
  return loading;
}

/** Threads wait for each other by spinning: more than half of the cores slows the machine down, and them with it. */
const MAX_THREADS = 4;

async function load(provider: Provider): Promise<Runtime> {
  const [ort, wasm, mjs] =
    provider === "wasm"
      ? await Promise.all([
          import("onnxruntime-web/wasm"),
          import("onnxruntime-web/ort-wasm-simd-threaded.wasm?url"),
          import("onnxruntime-web/ort-wasm-simd-threaded.mjs?url"),
        ])
      : await Promise.all([
          import("onnxruntime-web/webgpu"),
          import("onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url"),
          import("onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url"),
        ]);
  const { env } = ort;
  // Threads share memory, which browsers allow on isolated pages only.
  const threads = crossOriginIsolated
    ? Math.max(1, Math.min(MAX_THREADS, Math.floor(navigator.hardwareConcurrency / 2)))
    : 1;
  env.wasm.numThreads = threads;
  env.wasm.wasmPaths = {
    wasm: new URL(wasm.default, self.location.href).href,
    mjs: new URL(mjs.default, self.location.href).href,
  };
  const name = `onnxruntime-web ${env.versions.web ?? ""}, ${provider}${threads > 1 ? ` with ${threads} threads` : ""}`;
  return createRuntime(ort satisfies OrtModule, name);
}
