/**
 * @file The README shows what the program prints: its output blocks are compared with real output. Only numbers of
 * float32 runs depend on the processor; those are compared by their place, not by their value.
 */

import { cpSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { cliFolder } from "./cli/cli.ts";

const repository = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(`${repository}README.md`, "utf8");
const cli = cliFolder();
beforeAll(() =>
  cpSync(`${repository}examples/data`, cli.path("examples/data"), { recursive: true }),
);

/** The fenced block after `<!-- NAME -->`. */
function blockAfter(name: string): string {
  const block = new RegExp(`<!-- ${name} -->\\n+\`\`\`[^\\n]*\\n([\\s\\S]*?)\\n\`\`\``).exec(
    readme,
  );
  return block?.[1] ?? "";
}

const NUMBER = /\d+(?:[.,]\d+)*(?:e[+-]?\d+)?/g;

/** Line breaks go, as longer numbers move them; numbers go where they were measured in a run of the nets. */
function comparable(text: string): string {
  return text
    .replace(/Whole network on[\s\S]*?onnxruntime-node [\d.]+/g, (part) =>
      part.replace(NUMBER, "#"),
    )
    .replace(/Output y moves[\s\S]*?moves\s+it\./g, (part) => part.replace(NUMBER, "#"))
    .split(/\s+/)
    .filter((word) => word !== "")
    .join(" ");
}

describe("README", () => {
  test("shows what npm start prints", () => {
    const start = readFileSync(`${repository}scripts/start.mjs`, "utf8");
    expect(start).toContain('"repvgg-mnist.pth"');
    expect(start).toContain('"4x1x28x28"');
    const args = ["demo", "examples/data/repvgg-mnist.pth", "--input", "4x1x28x28"];
    const { status, stdout } = cli.run(...args);
    expect(status).toBe(0);
    expect(comparable(stdout)).toBe(comparable(blockAfter("demo")));
    expect(stdout).toContain("Top-1 agrees in 4 of 4");
  });

  test("shows what insert prints", () => {
    const lines = blockAfter("insert").split("\n");
    const commands = lines.filter((line) => line.startsWith("$ npx reparam "));
    expect(commands).toHaveLength(2);
    const outputs = commands.map((line) => cli.run(...line.split(" ").slice(3)).stdout);
    const shown = lines.filter((line) => !line.startsWith("$ ")).join("\n");
    expect(comparable(outputs.at(-1)!)).toBe(comparable(shown));
  });

  test("what is not compared is only what was measured", () => {
    expect(comparable("Fused 8 blocks\n  k = 6")).toBe("Fused 8 blocks k = 6");
    expect(comparable("Whole network on x [4, 1]\n y 3.2e-7 onnxruntime-node 1.30.0\n8")).toBe(
      "Whole network on x [#, #] y # onnxruntime-node # 8",
    );
  });
});
