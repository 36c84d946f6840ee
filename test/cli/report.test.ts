/** @file `--report` of convert, verify and diagnose: one HTML file that needs nothing else, handled like any output. */

import { readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { cliFolder, smallCheckpoint } from "./cli.ts";

const cli = cliFolder();
const read = (name: string): string => readFileSync(cli.path(name), "utf8");

beforeAll(async () => {
  cli.write("train.pth", await smallCheckpoint());
  cli.run("convert", "train.pth", "-o", "good.pth", "--report", "convert.html");
  cli.run("convert", "train.pth", "-o", "epsilon.onnx", "--eps", "1e-3");
});

test("convert and verify write what they print, with figures and without requests", () => {
  const { status } = cli.run("verify", "train.pth", "good.pth", "--report", "verify.html");
  expect(status).toBe(0);
  for (const name of ["convert.html", "verify.html"]) {
    expect(read(name)).toContain("EXACT-FOLD");
    expect(read(name)).toContain("ω per block.");
    // Nothing is loaded: no address in any attribute.
    expect(read(name)).not.toMatch(/(src|href)="(?!#)/);
  }
  expect(read("verify.html")).toMatch(/<svg[\s\S]*Noise floor/);
});

test("diagnose writes its findings, and keeps its exit code", () => {
  const { status } = cli.run("diagnose", "train.pth", "epsilon.onnx", "--report", "why.html");
  expect(status).toBe(1);
  expect(read("why.html")).toContain("Batch norm was folded with another epsilon");
});

test("an existing report is kept unless --force is given; the name has to say what it is", () => {
  const before = read("convert.html");
  const again = ["verify", "train.pth", "good.pth", "--weights-only", "--report", "convert.html"];
  const refused = cli.run(...again);
  expect(refused.status).toBe(73);
  expect(refused.stderr).toContain("--force");
  expect(read("convert.html")).toBe(before);
  expect(cli.run(...again, "--force").status).toBe(0);
  expect(read("convert.html")).not.toBe(before);
  const odd = cli.run("verify", "train.pth", "good.pth", "--report", "report.txt");
  expect(odd.status).toBe(64);
  expect(odd.stderr).toContain(".html");
});
