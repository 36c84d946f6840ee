/** @file What `verify` and `diagnose` share: options that contradict each other, real images, bad weights, control flow. */

import { mkdirSync } from "node:fs";
import sharp from "sharp";
import { beforeAll, describe, expect, test } from "vitest";
import { float32Tensor, type LazyTensor, lazyTensor } from "../../src/core/tensor.ts";
import { writeNpy } from "../../src/formats/npy/write-npy.ts";
import { modelToBytes } from "../../src/formats/onnx/write-model.ts";
import { createGraphBuilder } from "../../src/ir/builder.ts";
import { cliFolder, smallCheckpoint } from "./cli.ts";

const cli = cliFolder();
const COMMANDS = ["verify", "diagnose"] as const;
const SIZE = "1x3x32x32";

beforeAll(async () => {
  cli.write("train.pth", await smallCheckpoint());
  cli.run("convert", "train.pth", "-o", "deploy.pth");
  cli.run("convert", "train.pth", "-o", "deploy.onnx");
  const values = Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i));
  cli.write("x.npy", writeNpy(float32Tensor([1, 3, 32, 32], values)));
  mkdirSync(cli.path("photos"));
  for (const [i, background] of ["#c02010", "#1060e0", "#30a050"].entries()) {
    const picture = sharp({ create: { width: 40, height: 30, channels: 3, background } });
    cli.write(`photos/${i}.png`, await picture.png().toBuffer());
  }
});

/** Runs what has to fail: returns its only line. */
function failure(exitCode: number, ...args: string[]): string {
  const { status, stdout, stderr } = cli.run(...args);
  expect(stdout).toBe("");
  expect(stderr.trimEnd().split("\n"), stderr).toHaveLength(1);
  expect(status, stderr).toBe(exitCode);
  return stderr;
}

describe.each(COMMANDS)("%s refuses options that can do nothing together", (command) => {
  test.each([
    ["--golden", ["--golden", "x.npy", "x.npy"]],
    ["--images", ["--images", "photos"]],
    ["--input", ["--input", SIZE]],
    ["--replicas", ["--replicas", "3"]],
    ["--seed", ["--seed", "3"]],
  ])("%s beside --weights-only, which runs no net", (option, args) => {
    const line = failure(64, command, "train.pth", "deploy.pth", "--weights-only", ...args);
    expect(line).toMatch(new RegExp(`^error: ${option}: --weights-only runs no net`));
  });

  test.each([
    ["--images", ["--images", "photos"]],
    ["--input", ["--input", SIZE]],
  ])("%s beside --golden, which is an input itself", (option, args) => {
    const golden = ["--golden", "x.npy", "x.npy"];
    const line = failure(64, command, "train.pth", "deploy.pth", ...golden, ...args);
    expect(line).toMatch(new RegExp(`^error: ${option}: .*--golden`));
  });

  test.each([
    ["--key", ["--key", "ema"]],
    ["--eps", ["--eps", "1e-3"]],
    ["--family", ["--family", "repvgg"]],
    ["--no-identity", ["--no-identity"]],
  ])("%s where both files are ONNX models", (option, args) => {
    const line = failure(64, command, "deploy.onnx", "deploy.onnx", ...args);
    expect(line).toMatch(new RegExp(`^error: ${option}: both files are ONNX models`));
  });

  test("an option about checkpoints is fine where one file is one", () => {
    const args = ["train.pth", "deploy.onnx", "--weights-only", "--eps", "1e-5"];
    expect(cli.run(command, ...args)).toMatchObject({ status: 0, stderr: "" });
  });

  test("an array beside --images, where --input is the size of the images", () => {
    const args = ["--images", "photos", "--input", "x.npy"];
    const line = failure(64, command, "train.pth", "deploy.pth", ...args);
    expect(line).toMatch(/^error: --input: "x\.npy", expected .*1x3x224x224.*--images/);
  });

  test("before any file is looked at", () => {
    const args = ["nowhere.pth", "deploy.pth", "--weights-only", "--input", SIZE];
    expect(failure(64, command, ...args)).toContain("error: --input: ");
  });

  test("but not options that have a use beside each other", () => {
    const run = [command, "train.pth", "deploy.pth"];
    expect(cli.run(...run, "--weights-only", "--eps", "1e-5").status).toBe(0);
    expect(cli.run(...run, "--input", SIZE, "--seed", "5", "--replicas", "2").status).toBe(0);
  });
});

describe("--images", () => {
  test("takes as many images as the shape says, at its size", () => {
    const images = ["--images", "photos", "--input", "2x3x32x48", "--replicas", "2"];
    const { status, document } = cli.json("verify", "train.pth", "deploy.pth", ...images);
    expect(status).toBe(0);
    expect(document).toMatchObject({
      verdict: { word: "EXACT-FOLD" },
      whole: { passed: true, inputs: [{ shape: [2, 3, 32, 48] }] },
    });
  });

  test("their numbers reach the nets: other images, other outputs", async () => {
    mkdirSync(cli.path("grey"));
    const grey = sharp({ create: { width: 32, height: 32, channels: 3, background: "#808080" } });
    cli.write("grey/0.png", await grey.png().toBuffer());
    const largest = (folder: string): unknown => {
      const images = ["--images", folder, "--input", SIZE, "--replicas", "1"];
      const { document } = cli.json("verify", "train.pth", "deploy.pth", ...images);
      const { outputs } = document["whole"] as { outputs: { metrics: { maxAbs: number } }[] };
      return outputs[0]!.metrics;
    };
    expect(largest("grey")).not.toEqual(largest("photos"));
  });

  test("a folder that is none, or holds none", () => {
    expect(failure(66, "verify", "train.pth", "deploy.pth", "--images", "nowhere")).toContain(
      "nowhere",
    );
    mkdirSync(cli.path("empty"));
    expect(failure(65, "verify", "train.pth", "deploy.pth", "--images", "empty")).toContain(
      "empty: holds no images",
    );
  });
});

describe.each(COMMANDS)("%s names the file that holds bad weights", (command) => {
  const conv = "stage1.0.rbr_dense.conv.weight";
  const variance = "stage1.0.rbr_dense.bn.running_var";

  beforeAll(async () => {
    for (const [name, value] of Object.entries({ nan: Number.NaN, inf: Infinity })) {
      const bytes = await smallCheckpoint((tensors) => {
        const { shape } = tensors.get(conv)!;
        const count = shape.reduce((a, b) => a * b, 1);
        const values = Array.from({ length: count }, (_, i) => (i === 17 ? value : 0.5));
        tensors.set(conv, lazyTensor(float32Tensor(shape, values)));
      });
      cli.write(`${name}.pth`, bytes);
    }
    const negative = [1, 1, -0.5, 1, 1, 1, 1, 1];
    const bytes = await smallCheckpoint((tensors) => {
      tensors.set(variance, lazyTensor(float32Tensor([8], negative)));
    });
    cli.write("variance.pth", bytes);
  });

  test.each(["nan", "inf"])("%s in the training form", (name) => {
    const line = failure(65, command, `${name}.pth`, "deploy.pth", "--weights-only");
    expect(line).toContain(`error: ${name}.pth: ${conv}: element 17 is not a finite number`);
  });

  test("a negative variance", () => {
    const line = failure(65, command, "variance.pth", "deploy.pth", "--weights-only");
    expect(line).toMatch(/^error: variance\.pth: stage1\.0\.rbr_dense\.bn.*-0\.5/);
  });

  test("the second file, where it is that one", () => {
    // Two training forms: the branches of both are fused, and only the second's hold the NaN.
    const line = failure(65, command, "train.pth", "nan.pth", "--weights-only");
    expect(line).toContain(`error: nan.pth: ${conv}: element 17 is not a finite number`);
  });
});

describe.each(COMMANDS)("%s of a net with an If", (command) => {
  beforeAll(async () => {
    cli.write("choice.onnx", await choosing(1));
    cli.run("convert", "choice.onnx", "-o", "choice-deploy.onnx");
    cli.write("choice-negative.onnx", await choosing(-1));
  });

  test("says that it cannot be run, and what can be done", () => {
    const line = failure(65, command, "choice.onnx", "choice-deploy.onnx");
    expect(line).toMatch(/^error: If "choose": no float64 reference: .*control flow/);
    expect(line).toContain("The weights can still be compared without one: --weights-only.");
  });

  test("compares its weights with --weights-only", () => {
    const { status, document } = cli.json(command, "choice.onnx", "choice-deploy.onnx", WEIGHTS);
    expect(status).toBe(0);
    expect(document).toMatchObject({ verdict: { word: "EXACT-FOLD" } });
  });

  test("and names the file there, too", () => {
    const line = failure(65, command, "choice-negative.onnx", "choice-deploy.onnx", WEIGHTS);
    expect(line).toMatch(/^error: choice-negative\.onnx: variance\[0\]: variance -1 plus epsilon/);
  });
});

const WEIGHTS = "--weights-only";

/** A block of two branches, and an If that lets it through or its ReLU. */
async function choosing(variance: number): Promise<Uint8Array> {
  const filled = (shape: readonly number[], value: number): LazyTensor => {
    const count = shape.reduce((a, b) => a * b, 1);
    return lazyTensor(float32Tensor(shape, new Float32Array(count).fill(value)));
  };
  const g = createGraphBuilder();
  const x = g.input("x", "float32", [1, 2, 8, 8]);
  const conv = g.node("Conv", [x, g.initializer("w", filled([2, 2, 1, 1], 0.5))], {}, "conv");
  const statistics = Object.entries({ gamma: 0.75, beta: 0.5, mean: 0.25, variance }).map(
    ([key, value]) => g.initializer(key, filled([2], value)),
  );
  const norm = g.node("BatchNormalization", [conv, ...statistics], {}, "bn");
  const sum = g.node("Add", [norm, x], {}, "sum");
  const zero = g.initializer("zero", filled([], 0));
  const total = g.node("ReduceSum", [sum], { keepdims: 0 }, "total");
  const positive = g.node("Greater", [total, zero], {}, "positive");
  const branch = (op: string) => {
    const inner = createGraphBuilder();
    inner.output(inner.node(op, [sum], {}, `${op}_inner`), "float32", [1, 2, 8, 8]);
    return inner.buildGraph();
  };
  const branches = { then_branch: branch("Identity"), else_branch: branch("Relu") };
  g.output(g.node("If", [positive], branches, "choose"), "float32", [1, 2, 8, 8]);
  return await modelToBytes(g.build());
}
