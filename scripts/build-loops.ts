/**
 * @file Writes src/algebra/loops/row-loops-binary.ts from row-loops.wat, so that neither a build nor a browser needs an
 * assembler: `npm run build:loops`. A test holds the two together.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";
import wabt from "wabt";

const folder = new URL("../src/algebra/loops/", import.meta.url);
export const ROW_LOOPS_BINARY_PATH: URL = new URL("row-loops-binary.ts", folder);

/** The module that row-loops.wat assembles to, as a TypeScript file. */
export async function formatRowLoops(): Promise<string> {
  const source = readFileSync(new URL("row-loops.wat", folder), "utf8");
  const assembler = await wabt();
  const assembled = assembler.parseWat("row-loops.wat", source, { simd: true });
  assembled.validate();
  const base64 = Buffer.from(assembled.toBinary({}).buffer).toString("base64");
  const lines = (base64.match(/.{1,110}/g) ?? []).map((line) => `  "${line}"`);
  return `/** @file Made from row-loops.wat by \`npm run build:loops\`; not to be edited. */

// biome-ignore format: one long constant
export const ROW_LOOPS_BINARY: string =
${lines.join(" +\n")};
`;
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(ROW_LOOPS_BINARY_PATH, await formatRowLoops());
}
