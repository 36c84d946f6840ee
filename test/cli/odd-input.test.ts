/** @file What nobody would do on purpose: each gives one line that says what was found and what to do, and no file. */

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, symlinkSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { createRng } from "../../src/core/rng.ts";
import { float32Tensor, type LazyTensor, lazyTensor } from "../../src/core/tensor.ts";
import { modelToBytes } from "../../src/formats/onnx/write-model.ts";
import { createGraphBuilder } from "../../src/ir/builder.ts";
import { call, name, text, torchZip } from "../support/pickle-bytes.ts";
import { cliFolder, smallCheckpoint } from "./cli.ts";

const cli = cliFolder();

beforeAll(async () => {
  cli.write("train.pth", await smallCheckpoint());
  cli.write("norm.onnx", await normalized(1e-5));
});

/** A convolution and its batch norm. */
async function normalized(epsilon: number): Promise<Uint8Array> {
  const rng = createRng(3);
  const random = (shape: readonly number[]): LazyTensor => {
    const count = shape.reduce((a, b) => a * b, 1);
    return lazyTensor(
      float32Tensor(
        shape,
        Array.from({ length: count }, () => 1 + rng.next()),
      ),
    );
  };
  const g = createGraphBuilder();
  const x = g.input("x", "float32", ["n", 3, 8, 8]);
  const y = g.node("Conv", [x, g.initializer("w", random([4, 3, 3, 3]))], {}, "conv");
  const statistics = ["gamma", "beta", "mean", "variance"].map((key) =>
    g.initializer(key, random([4])),
  );
  g.output(
    g.node("BatchNormalization", [y, ...statistics], { epsilon: { float: epsilon } }, "bn"),
    "float32",
    ["n", 4, 6, 6],
  );
  return await modelToBytes(g.build());
}

/** Runs what has to fail: returns its only line. */
function failure(exitCode: number, ...args: string[]): string {
  const { status, stdout, stderr } = cli.run(...args);
  expect(stdout).toBe("");
  expect(stderr.trimEnd().split("\n"), stderr).toHaveLength(1);
  expect(stderr).toMatch(/^error: /);
  expect(status, stderr).toBe(exitCode);
  expect(readdirSync(cli.path(".")).filter((file) => /^out|\.tmp$/.test(file))).toEqual([]);
  return stderr;
}

describe("a command line that makes no sense says where the help is", () => {
  test.each([
    [["inspect"], "missing required argument 'file'. See reparam inspect --help."],
    [["inspekt", "x"], "(Did you mean inspect?) See reparam --help."],
    [["convert", "train.pth"], "not specified. See reparam convert --help."],
    [["verify", "a", "b", "--relicas", "3"], "(Did you mean --replicas?) See reparam verify"],
    [["convert", "train.pth", "-o", "out.pth", "--eps", "0"], "Expected a number above 0. See"],
    [["convert", "train.pth", "-o", "out.pth", "--eps", "1e400"], "Expected a number above 0."],
  ])("%j", (args, expected) => {
    expect(failure(64, ...args)).toContain(expected);
  });

  test.each([
    [["convert", "train.pth", "-o", ""], '"": no ending'],
    [["convert", "train.pth", "-o", "out.pth", "--family", ","], "names no family"],
  ])("%j", (args, expected) => {
    expect(failure(64, ...args)).toContain(expected);
  });

  test("an empty file name", () => {
    expect(failure(66, "inspect", "")).toContain('"": no such file');
  });
});

describe("an option that can do nothing is refused", () => {
  test.each([
    ["--eps", ["convert", "norm.onnx", "-o", "out.onnx", "--eps", "1e-3"]],
    ["--family", ["plan", "norm.onnx", "--family", "repvgg"]],
    ["--no-identity", ["inspect", "norm.onnx", "--no-identity"]],
    ["--opset", ["convert", "norm.onnx", "-o", "out.onnx", "--opset", "13"]],
    ["--height", ["convert", "train.pth", "-o", "out.pth", "--height", "8"]],
    ["--no-clean", ["convert", "train.pth", "-o", "out.onnx", "--no-clean"]],
    ["--opset", ["create", "RepVGG-A0", "-o", "out.pth", "--opset", "13"]],
  ])("%s: %j", (option, args) => {
    expect(failure(64, ...args)).toMatch(new RegExp(`^error: ${option}: .* Leave it out\\.`));
  });
});

describe("nets that are too large to make", () => {
  test("more blocks than the limit", () => {
    // 9997 + 1 + 1 + 1 blocks and the stem: one above 10 000.
    const blocks = ["--blocks", "9997,1,1,1", "--widths", "8,8,8,8"];
    expect(failure(64, "create", ...blocks, "-o", "out.pth")).toContain("10001 blocks");
  });

  test("a weight of more elements than the limit", () => {
    const widths = ["--blocks", "1,1,1,1", "--widths", "8,8,8,99999999"];
    // 8 · 9 · 99 999 999
    expect(failure(64, "create", ...widths, "-o", "out.pth")).toContain("7199999928 elements");
  });
});

describe("files that are none", () => {
  test("a pipe, which would be waited for for ever", () => {
    if (spawnSync("mkfifo", [cli.path("pipe.pth")]).status !== 0) {
      console.log("not run here: a named pipe (needs mkfifo)");
      return;
    }
    expect(failure(66, "inspect", "pipe.pth")).toContain("it is a pipe, expected a file");
  });

  test("a link that leads to itself, as input and as folder of the output", () => {
    symlinkSync("second", cli.path("first"));
    symlinkSync("first", cli.path("second"));
    expect(failure(66, "inspect", "first")).toContain("a link that leads to itself");
    expect(failure(73, "convert", "train.pth", "-o", "first/out.pth")).toContain("leads to itself");
  });

  test("a program in a pickle: named, not run", async () => {
    const victim = cli.path("victim");
    cli.write("evil.pth", await torchZip(call(name("os", "system"), text(`touch ${victim}`))));
    expect(failure(65, "inspect", "evil.pth")).toContain("it asks for os.system");
    expect(existsSync(victim)).toBe(false);
  });
});

test.each([Number.POSITIVE_INFINITY, Number.NaN, -9])("an ONNX epsilon of %f", async (epsilon) => {
  cli.write("epsilon.onnx", await normalized(epsilon));
  const line = failure(65, "convert", "epsilon.onnx", "-o", "out.onnx");
  expect(line).toMatch(/epsilon\.onnx: variance\[0\]: .* expected a finite number above 0/);
});

test("a net the runtime has no memory for: its words once, in one sentence, and no log of its own", async () => {
  const g = createGraphBuilder();
  const x = g.input("x", "float32", ["n", 3, 8, 8]);
  const weight = lazyTensor(float32Tensor([4, 3, 3, 3], new Float32Array(108).fill(0.5)));
  // Padded by a million on each side: 4 · 3 · (2·10⁶)² float64 are 384 TB, beyond any address space.
  const far = { dilations: [1e6, 1e6], pads: [1e6, 1e6, 1e6, 1e6] };
  g.output(g.node("Conv", [x, g.initializer("w", weight)], far, "far"), "float32", undefined);
  cli.write("far.onnx", await modelToBytes(g.build()));
  const { status, stdout, stderr } = cli.run("insert", "far.onnx", "-o", "far-train.onnx");
  expect([status, stderr]).toEqual([0, ""]);
  expect(stdout.replaceAll(/\s+/g, " ")).toMatch(
    /Not run as a whole: .*Failed to allocate memory[^.]*\. Checked/,
  );
});

test("two training forms are the same function, but somebody forgot to convert", () => {
  const { status, stdout } = cli.run("verify", "train.pth", "train.pth", "--weights-only");
  expect(status).toBe(0);
  expect(stdout).toContain("was it converted?");
});
