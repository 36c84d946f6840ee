/** @file `reparam diagnose` as a user runs it: exit codes, text, JSON, a recorded output. */

import { beforeAll, expect, test } from "vitest";
import { float32Tensor } from "../../src/core/tensor.ts";
import { writeNpy } from "../../src/formats/npy/write-npy.ts";
import { cliFolder, smallCheckpoint } from "./cli.ts";

const cli = cliFolder();

beforeAll(async () => {
  cli.write("train.pth", await smallCheckpoint());
  cli.run("convert", "train.pth", "-o", "good.pth");
  cli.run("convert", "train.pth", "-o", "epsilon.onnx", "--eps", "1e-3");
});

test("a right pair: no fault, exit code 0", () => {
  const { status, stdout, stderr } = cli.run("diagnose", "train.pth", "good.pth");
  expect(stderr).toBe("");
  expect(stdout).toContain("EXACT-FOLD");
  expect(stdout).toContain("No fault was found");
  expect(stdout).toMatch(/branches cancel/);
  expect(status).toBe(0);
});

test("another epsilon: named, proved, with its effect, in lines of at most 80 characters", () => {
  const { status, stdout } = cli.run("diagnose", "train.pth", "epsilon.onnx");
  expect(stdout).toContain("1. Batch norm was folded with another epsilon  proved");
  expect(stdout).toContain("deploy used 1e-3, the model says 1e-5");
  expect(stdout).toMatch(/At the output this alone moves/);
  expect(stdout).toContain("docs/causes.md#bn-epsilon");
  expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
  expect(status).toBe(1);
});

test("--json is one document; --weights-only runs no net", () => {
  const { status, document } = cli.json("diagnose", "train.pth", "epsilon.onnx", "--weights-only");
  expect(status).toBe(1);
  expect(document).toMatchObject({
    schema: "reparam.diagnose/1",
    verdict: { word: "DIFFERENT" },
    findings: [{ cause: "bn-epsilon", confidence: "proved", effect: null }],
  });
});

test("a recorded output that nothing explains is said to be so", () => {
  const values = Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i));
  cli.write("x.npy", writeNpy(float32Tensor([1, 3, 32, 32], values)));
  const { document } = cli.json("diagnose", "train.pth", "good.pth", "--golden", "x.npy", "x.npy");
  expect(document).toMatchObject({
    findings: [{ cause: "golden-unexplained", confidence: "consistent" }],
  });
});
