/** @file Ctrl-C in the middle of the work, and a reader that goes away. */

import { once } from "node:events";
import { readdirSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { beforeAll, expect, test } from "vitest";
import { cliFolder } from "./cli.ts";

const cli = cliFolder();
const outputs = (): string[] => readdirSync(cli.path(".")).filter((name) => name !== "train.pth");

beforeAll(() => {
  // 37 MB: the conversion is at work long enough to be interrupted.
  expect(cli.run("create", "RepVGG-A0", "-o", "train.pth").status).toBe(0);
});

test.skipIf(process.platform === "win32")(
  "Ctrl-C: exit 130, no file, no temporary file",
  async () => {
    const child = cli.start("convert", "train.pth", "-o", "out.pth");
    const exited = once(child, "exit");
    // The temporary file appears when writing starts.
    while (outputs().length === 0 && child.exitCode === null) await wait(1);
    expect(outputs()[0]).toMatch(/^\.out\.pth\..*\.tmp$/);
    child.kill("SIGINT");
    let stderr = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const [code] = await exited;
    expect(code).toBe(130);
    expect(stderr).toBe("error: reparam: stopped before it was finished.\n");
    expect(outputs()).toEqual([]);
  },
);

test("a closed pipe ends the program quietly", async () => {
  const child = cli.start("inspect", "train.pth", "--json");
  const exited = once(child, "exit");
  child.stdout?.destroy();
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  await exited;
  expect(stderr).toBe("");
  expect(child.exitCode).toBe(0);
});
