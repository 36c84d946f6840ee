/** @file Builds the page into `dist/web`: relative addresses, so that any static host and any sub-path will do. */

import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin, type UserConfig } from "vite";
import { REPORT_STYLE } from "../src/report/html/style.ts";

/** The style sheet that the HTML report carries inside; the page uses the same one. */
function reportStyle(): Plugin {
  const name = "virtual:report.css";
  return {
    name: "report-style",
    resolveId: (id) => (id === name ? `\0${name}` : undefined),
    load: (id) => (id === `\0${name}` ? REPORT_STYLE : undefined),
  };
}

/** Wasm threads need them; `reparam ui` sends the same. */
const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** What opening, drawing, converting and comparing a file needs: one file, as they follow each other at once. */
const MAIN =
  /src\/(core|ir|algebra|formats|zoo|rewrite|convert)\/|verify\/(verify|graph-side)|diagnose\/anatomy|worker\/(main|calls|inspect|open)/;

/**
 * Other people's code in files of its own, as the size budget counts it apart. Ours in few files, by when they are
 * needed: many small ones compress worse. A group takes along what its modules import, unless a group before it has it.
 */
const OUTPUT = {
  codeSplitting: {
    groups: [
      { name: "vendor-ort", test: /node_modules\/onnxruntime/ },
      { name: "vendor-dagre", test: /node_modules\/@dagrejs/ },
      { name: "vendor-protobuf", test: /node_modules\/@bufbuild/ },
      { name: "vendor-preact", test: /node_modules\/@?preact/ },
      { name: "main", test: MAIN },
      { name: "running", test: /src\/(runtime|verify)\/|worker\/(race|compare-outputs)/ },
      { name: "explain", test: /src\/diagnose\/|worker\/explain/ },
    ],
  },
};

const config: UserConfig = defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "./",
  plugins: [reportStyle()],
  worker: { format: "es", plugins: () => [reportStyle()], rolldownOptions: { output: OUTPUT } },
  server: { headers: ISOLATION, host: "127.0.0.1" },
  preview: { headers: ISOLATION, host: "127.0.0.1" },
  // The runtime finds its wasm by the address we give it, not by its own.
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser", "production"] },
  build: {
    outDir: fileURLToPath(new URL("../dist/web", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
    rolldownOptions: { output: OUTPUT },
  },
});

export default config;
