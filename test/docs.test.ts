/**
 * @file Holds the documentation to the code: links inside the repository resolve, and blocks marked `ts run` or `sh run`
 * are executed. The blocks of one page run in order in one temporary folder with a copy of `examples/`, `reparam`
 * being the built package. `ts` blocks are type-checked on the way.
 */

import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ensureBuild } from "../scripts/build.mjs";
import { anchorsOf, type FencedBlock, linksOf, parsePage, shellCommands } from "./markdown.ts";

const repository = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string): string => readFileSync(join(repository, path), "utf8");
const docs = readdirSync(join(repository, "docs"), { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".md"))
  .map((path) => join("docs", path));
const pages = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", ...docs].filter((path) =>
  existsSync(join(repository, path)),
);

/** Why a link of the page at `path` leads nowhere, if so. */
function brokenLink(path: string, link: string): string | undefined {
  if (/^[a-z]+:/i.test(link)) return undefined;
  const [file = "", anchor] = link.split("#");
  const target = file === "" ? path : join(dirname(path), file);
  if (!existsSync(join(repository, target))) return `${path}: ${link}: no such file`;
  if (anchor === undefined || !target.endsWith(".md")) return undefined;
  const anchors = anchorsOf(parsePage(read(target)).prose);
  return anchors.includes(anchor) ? undefined : `${path}: ${link}: no such heading`;
}

describe("links", () => {
  test.each(pages)("%s", (path) => {
    const { prose } = parsePage(read(path));
    expect(linksOf(prose).flatMap((link) => brokenLink(path, link) ?? [])).toEqual([]);
  });

  test("a wrong file and a wrong heading are noticed", () => {
    expect(brokenLink("CONTRIBUTING.md", "docs/nowhere.md")).toContain("no such file");
    expect(brokenLink("CONTRIBUTING.md", "docs/architecture.md#nowhere")).toContain(
      "no such heading",
    );
    expect(brokenLink("CONTRIBUTING.md", "docs/architecture.md#decisions")).toBeUndefined();
  });
});

describe("Markdown", () => {
  test("blocks, links and anchors", () => {
    const page = parsePage("# A `b` c!\n[x](y.md#z) `[no](link)`\n```ts run\n[no](link)\n```\n");
    expect(page.blocks).toEqual([{ info: ["ts", "run"], text: "[no](link)", line: 3 }]);
    expect(linksOf(page.prose)).toEqual(["y.md#z"]);
    expect(anchorsOf(page.prose)).toEqual(["a-b-c"]);
  });

  test("shell lines", () => {
    expect(
      shellCommands("a 'b c' \\\n  --d # exit 65, as the file is bad\n\n# only words\n"),
    ).toEqual([{ words: ["a", "b c", "--d"], exitCode: 65 }]);
    expect(shellCommands("$ a # what it does\noutput")).toEqual([{ words: ["a"], exitCode: 0 }]);
    expect(() => shellCommands("a | b")).toThrow("needs a shell: a | b");
  });
});

const marked = pages
  .map((path) => ({
    path,
    blocks: parsePage(read(path)).blocks.filter((block) => block.info.includes("run")),
  }))
  .filter((page) => page.blocks.length > 0);

if (marked.length > 0) {
  describe("blocks run", () => {
    let root = "";

    beforeAll(async () => {
      await ensureBuild();
      root = mkdtempSync(join(tmpdir(), "reparam-docs-"));
      mkdirSync(join(root, "node_modules"));
      symlinkSync(repository, join(root, "node_modules", "reparam"), "junction");
      for (const { path, blocks } of marked) {
        const folder = pageFolder(root, path);
        cpSync(join(repository, "examples"), join(folder, "examples"), { recursive: true });
        for (const block of blocks.filter((one) => one.info[0] === "ts")) {
          writeFileSync(join(folder, `line-${block.line}.ts`), `${block.text}\nexport {};\n`);
        }
      }
      writeFileSync(join(root, "package.json"), `{ "type": "module" }`);
      writeFileSync(join(root, "tsconfig.json"), JSON.stringify(blockCompilerOptions()));
    });

    afterAll(() => rmSync(root, { recursive: true, force: true }));

    test("ts blocks pass the type checker", () => {
      const tsc = join(repository, "node_modules", "typescript", "bin", "tsc");
      const result = spawnSync(process.execPath, [tsc, "-p", root], { encoding: "utf8" });
      expect(result.stdout).toBe("");
    });

    for (const { path, blocks } of marked) {
      describe(path, () => {
        test.each(blocks)("line $line", (block) => {
          const folder = pageFolder(root, path);
          if (block.info[0] === "ts") runNode(folder, [`line-${block.line}.js`], 0);
          else if (block.info[0] === "sh") runShell(folder, block);
          else expect.fail(`${block.info.join(" ")}: only ts and sh blocks can be run`);
        });
      });
    }
  });
}

function blockCompilerOptions(): object {
  return {
    compilerOptions: {
      ...{ module: "nodenext", target: "es2023", strict: true, skipLibCheck: true },
      ...{ types: ["node"], typeRoots: [join(repository, "node_modules", "@types")] },
    },
    include: ["**/*.ts"],
    exclude: ["**/examples", "node_modules"],
  };
}

function pageFolder(root: string, path: string): string {
  const folder = join(root, path.replaceAll(/[^\w]+/g, "-"));
  mkdirSync(folder, { recursive: true });
  return folder;
}

function runShell(folder: string, block: FencedBlock): void {
  const cli = join(repository, "dist", "cli", "main.js");
  for (const { words, exitCode } of shellCommands(block.text)) {
    const [first, ...rest] = words[0] === "npx" ? words.slice(1) : words;
    if (first === "reparam") runNode(folder, [cli, ...rest], exitCode);
    else if (first === "node") runNode(folder, rest, exitCode);
    else expect.fail(`${first}: only reparam and node can be run`);
  }
}

function runNode(folder: string, args: readonly string[], exitCode: number): void {
  const result = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
  const what = `${args.join(" ")}\n${result.stdout}${result.stderr}`;
  expect(result.status, what).toBe(exitCode);
}
