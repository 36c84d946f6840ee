/** @file `reparam insert` on small nets: what it prints and writes, what it refuses, that fusing gives the net back. */

import { existsSync, readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { memorySink } from "../../src/core/byte-sink.ts";
import { createRng } from "../../src/core/rng.ts";
import { float32Tensor, type LazyTensor } from "../../src/core/tensor.ts";
import { writeNpy } from "../../src/formats/npy/write-npy.ts";
import { modelToBytes } from "../../src/formats/onnx/write-model.ts";
import { writePytorch } from "../../src/formats/pytorch/write-pytorch.ts";
import { createGraphBuilder } from "../../src/ir/builder.ts";
import { normal, tensorOf } from "../support/random-conv-net.ts";
import { cliFolder } from "./cli.ts";

const cli = cliFolder();
const rng = createRng(9);

beforeAll(async () => {
  cli.write("plain.onnx", await plainModel());
  cli.write("plain.pth", await plainCheckpoint());
  const g = createGraphBuilder();
  const weight = g.initializer("w", normal(rng, [4, 2, 3, 3], "float32"));
  const y = g.node("Conv", [g.input("x", "float32", ["n", 6, 9, 9]), weight], { group: 3 }, "odd");
  g.output(y, "float32", undefined);
  cli.write("odd.onnx", await modelToBytes(g.build()));
});

async function plainModel(): Promise<Uint8Array> {
  const g = createGraphBuilder();
  let x = g.input("x", "float32", ["n", 3, 12, 12]);
  for (const [name, inC] of [
    ["stem", 3],
    ["body", 8],
  ] as const) {
    const weight = g.initializer(`${name}.weight`, normal(rng, [8, inC, 3, 3], "float32"));
    const y = g.node("Conv", [x, weight], { pads: [1, 1, 1, 1] }, name);
    const vectors = [0, 1, 2, 3].map((i) =>
      g.initializer(
        `${name}.bn.${i}`,
        tensorOf([8], "float32", () => rng.uniform(0.5, 2)),
      ),
    );
    x = g.node("Relu", [g.node("BatchNormalization", [y, ...vectors])]);
  }
  g.output(x, "float32", undefined);
  return modelToBytes(g.build());
}

async function plainCheckpoint(): Promise<Uint8Array> {
  const tensors = new Map<string, LazyTensor>([
    ["features.0.weight", normal(rng, [8, 3, 3, 3], "float32")],
    ["features.0.bias", normal(rng, [8], "float32")],
    ...["weight", "bias", "running_mean", "running_var"].map((key): [string, LazyTensor] => [
      `features.1.${key}`,
      tensorOf([8], "float32", () => rng.uniform(0.5, 2)),
    ]),
    ["features.3.weight", normal(rng, [8, 8, 4, 4], "float32")],
    ["classifier.weight", normal(rng, [5, 8], "float32")],
  ]);
  const sink = memorySink();
  await writePytorch(
    [...tensors].map(([name, tensor]) => ({ name, tensor })),
    sink,
  );
  return sink.bytes();
}

describe("an ONNX model", () => {
  test("gets blocks, is checked as weights and as a whole, in lines of at most 80 characters", () => {
    const { status, stdout, stderr } = cli.run("insert", "plain.onnx", "-o", "train.onnx");
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(stdout).toContain("Put in 2 RepVGG blocks");
    expect(stdout).toContain("EXACT-FOLD");
    expect(stdout).toContain("times as far as one rounding of every");
    expect(stdout).toContain("stem: no rbr_identity: 3 input and 8 output channels");
    expect(stdout).toContain("Written to train.onnx");
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
  });

  test("fuses back to the same function", () => {
    expect(cli.run("convert", "train.onnx", "-o", "again.onnx").status).toBe(0);
    const { status, document } = cli.json("verify", "plain.onnx", "again.onnx");
    expect(status).toBe(0);
    expect(document).toMatchObject({ whole: { passed: true } });
  });

  test("the same bytes twice, and others with another seed", () => {
    const bytes = (name: string, ...flags: string[]): Buffer => {
      expect(cli.run("insert", "plain.onnx", "-o", name, "--weights-only", ...flags).status).toBe(
        0,
      );
      return readFileSync(cli.path(name));
    };
    const one = bytes("one.onnx", "--block", "dbb");
    expect(one.equals(bytes("two.onnx", "--block", "dbb"))).toBe(true);
    expect(one.equals(bytes("three.onnx", "--block", "dbb", "--seed", "1"))).toBe(false);
  });

  test("with statistics of real data", () => {
    const values = Array.from({ length: 4 * 3 * 144 }, () => rng.normal());
    cli.write("x.npy", writeNpy(float32Tensor([4, 3, 12, 12], values)));
    const { status, document } = cli.json(
      ...["insert", "plain.onnx", "-o", "calibrated.onnx", "--calibrate", "x.npy"],
    );
    expect(status).toBe(0);
    expect(document).toMatchObject({
      schema: "reparam.insert/1",
      calibrated: true,
      verification: { verdict: { word: "EXACT-FOLD" }, whole: { passed: true } },
    });
  });

  test("starting anew says so", () => {
    const { status, stdout } = cli.run(
      ...["insert", "plain.onnx", "-o", "fresh.onnx", "--fresh", "gamma001"],
    );
    expect(status).toBe(0);
    expect(stdout).toContain("ANOTHER FUNCTION");
    expect(cli.json("verify", "fresh.onnx", "plain.onnx").document).toMatchObject({
      verdict: { word: "DIFFERENT" },
    });
  });
});

describe("a checkpoint", () => {
  test("gets the block's key names; what was left alone and why is in the document", () => {
    const { status, document } = cli.json(
      ...["insert", "plain.pth", "-o", "train.safetensors", "--block", "acnet"],
    );
    expect(status).toBe(0);
    expect(document).toMatchObject({
      kind: "checkpoint",
      block: "acnet",
      blocks: [
        { name: "features.0", batchNorm: "features.1", branches: ["3×3+bn", "3×1+bn", "1×3+bn"] },
      ],
      leftAlone: [{ name: "features.3", reason: expect.stringContaining("4×4") }],
      family: { name: "zcls-acb" },
      verification: { verdict: { word: "EXACT-FOLD" } },
      published: true,
    });
    const { stdout } = cli.run("inspect", "train.safetensors", "--family", "zcls-acb", "--tensors");
    expect(stdout).toContain("features.0.square_conv");
    expect(stdout).not.toContain("features.1.");
  });
});

describe("refusals leave nothing behind", () => {
  test.each([
    [["plain.onnx", "-o", "out.pth"], 64, "the input is an ONNX model and the output is not"],
    [["plain.pth", "-o", "out.onnx"], 64, "the input is a checkpoint and the output is not"],
    [["plain.onnx", "-o", "plain.onnx", "--force"], 64, "the output is the input file itself"],
    [["plain.onnx", "-o", "out.onnx", "--match", "head*"], 65, "fits the pattern"],
    [["plain.pth", "-o", "out.pth", "--match", "features.3"], 65, "4×4"],
    [["plain.pth", "-o", "out.pth", "--calibrate", "x.npy"], 64, "cannot be run for calibration"],
    [["plain.pth", "-o", "out.pth", "--groups", "x"], 64, "PATTERN=NUMBER"],
    [["plain.onnx", "-o", "out.onnx", "--share", "3"], 64, "at most 1"],
    [["plain.onnx", "-o", "out.onnx", "--block", "resnet"], 64, "repvgg"],
    [["odd.onnx", "-o", "out.onnx"], 65, "odd.onnx: odd: group 3 does not divide the 4 output"],
    [["plain.onnx", "-o", "out.onnx", "--eps", "1e-3"], 64, "--eps: an ONNX model says itself"],
    [
      ["plain.onnx", "-o", "out.onnx", "--groups", "a=2"],
      64,
      "--groups: an ONNX model says itself",
    ],
    [["plain.pth", "-o", "out.pth", "--input", "1x3x8x8"], 64, "--input: a checkpoint is not run"],
    [["plain.onnx", "-o", "out.onnx", "--branches", "3"], 64, "--branches: repvgg has one dense"],
    [
      ["plain.onnx", "-o", "out.onnx", "--fresh", "gamma1", "--share", "0.1"],
      64,
      "--share: --fresh",
    ],
    [
      ["plain.onnx", "-o", "out.onnx", "--weights-only", "--input", "1x3x12x12"],
      64,
      "--input: --weights-only runs no net",
    ],
    [["nowhere.onnx", "-o", "out.onnx"], 66, "no such file"],
  ] as const)("%s", (args, code, message) => {
    const { status, stderr } = cli.run("insert", ...args);
    expect(stderr).toContain(message);
    expect(status).toBe(code);
    for (const name of ["out.pth", "out.onnx"]) expect(existsSync(cli.path(name))).toBe(false);
  });

  test("an existing output, without --force", () => {
    cli.write("there.onnx", "kept");
    expect(cli.run("insert", "plain.onnx", "-o", "there.onnx").status).toBe(73);
    expect(readFileSync(cli.path("there.onnx"), "utf8")).toBe("kept");
  });
});
