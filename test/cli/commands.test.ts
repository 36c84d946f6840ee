/** @file Every command on a small net: what it prints, what `--json` holds, what it exits with. */

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { memorySink } from "../../src/core/byte-sink.ts";
import { memorySource } from "../../src/core/byte-source.ts";
import { encodeFloat64 } from "../../src/core/dtype.ts";
import { float32Tensor, lazyTensor, readFloat64 } from "../../src/core/tensor.ts";
import { chooseStateDict, readCheckpoint } from "../../src/formats/checkpoint.ts";
import { writeNpy } from "../../src/formats/npy/write-npy.ts";
import { writePytorch } from "../../src/formats/pytorch/write-pytorch.ts";
import { cliFolder, smallCheckpoint } from "./cli.ts";

const cli = cliFolder();
const FORMATS = ["pth", "safetensors", "onnx"] as const;

beforeAll(async () => {
  cli.write("train.pth", await smallCheckpoint());
});

describe("convert", () => {
  test("says what it read, fused and proved, in lines of at most 80 characters", () => {
    const { status, stdout, stderr } = cli.run("convert", "train.pth", "-o", "plain.pth");
    expect(stderr).toBe("");
    expect(status).toBe(0);
    // stage0 + 1 + 2 + 1 + 1 blocks
    expect(stdout).toContain("Fused 6 blocks");
    expect(stdout).toMatch(/stage2 +2 +8 → 16 +3×3\+bn ∥ 1×1\+bn ∥ bn \(1 of 2\) +→ 3 × 3/);
    expect(stdout).toContain("EXACT-FOLD");
    expect(stdout).toContain("1e-5, the family's default");
    expect(stdout).toContain("Written to plain.pth");
    const tooLong = stdout.split("\n").filter((line) => line.length > 80);
    expect(tooLong).toEqual([]);
  });

  test.each(FORMATS)("to .%s, the same bytes twice", (format) => {
    for (const name of ["one", "two"]) {
      expect(cli.run("convert", "train.pth", "-o", `${name}.${format}`).status).toBe(0);
    }
    const [one, two] = ["one", "two"].map((name) => readFileSync(cli.path(`${name}.${format}`)));
    expect(one!.equals(two!)).toBe(true);
  });

  test("ONNX to ONNX", () => {
    expect(cli.run("create", ...SMALL_FLAGS, "-o", "net.onnx").status).toBe(0);
    const { status, stdout } = cli.run("convert", "net.onnx", "-o", "net-deploy.onnx");
    expect(stdout).toContain("EXACT-FOLD");
    expect(status).toBe(0);
  });

  test("--json is one document with the verdict in it", () => {
    const { status, document } = cli.json("convert", "train.pth", "-o", "j.safetensors");
    expect(status).toBe(0);
    expect(document).toMatchObject({
      schema: "reparam.convert/1",
      published: true,
      form: "training",
      format: "pytorch-zip",
      output: { path: "j.safetensors" },
      verification: { verdict: { word: "EXACT-FOLD" }, whole: null },
    });
    expect(document["blocks"]).toHaveLength(6);
    expect((document["blocks"] as object[])[0]).toMatchObject({
      name: "stage0",
      family: "repvgg",
      branches: ["3×3+bn", "1×1+bn"],
      weightShape: [8, 3, 3, 3],
      epsilon: { value: 1e-5, from: "default" },
    });
  });

  test("--eps is used and said; --no-verify is said", () => {
    const { stdout } = cli.run(
      "convert",
      "train.pth",
      "-o",
      "e.pth",
      "--eps",
      "1e-3",
      "--no-verify",
    );
    expect(stdout).toContain("0.001, from --eps");
    expect(stdout).toContain("NOT VERIFIED");
  });

  test("--force replaces, its absence refuses", () => {
    expect(cli.run("convert", "train.pth", "-o", "f.pth").status).toBe(0);
    const refused = cli.run("convert", "train.pth", "-o", "f.pth");
    expect(refused.status).toBe(73);
    expect(refused.stderr).toMatch(/^error: f\.pth: the file exists already\. .*--force/);
    expect(cli.run("convert", "train.pth", "-o", "f.pth", "--force").status).toBe(0);
  });
});

describe("verify", () => {
  const pairs = FORMATS.flatMap((a) => FORMATS.map((b) => [a, b] as const));

  beforeAll(() => {
    // Equal seeds: the same weights in all three formats.
    for (const format of FORMATS) {
      cli.run("create", ...SMALL_FLAGS, "-o", `t.${format}`);
      cli.run("convert", `t.${format === "onnx" ? "pth" : format}`, "-o", `d.${format}`);
    }
  });

  test.each(pairs)("training .%s against deploy .%s", (training, deploy) => {
    const result = cli.json("verify", `t.${training}`, `d.${deploy}`, "--replicas", "3");
    expect(result.document).toMatchObject({ verdict: { word: "EXACT-FOLD" } });
    expect(result.status).toBe(0);
  });

  test("text: verdict first, then weights, then the outputs in words", () => {
    const { status, stdout } = cli.run("verify", "t.pth", "d.onnx", "--input", "2x3x32x32");
    expect(status).toBe(0);
    const at = ["EXACT-FOLD", "Weights", "Whole network on x [2, 3, 32, 32]", "Top-1"].map((word) =>
      stdout.indexOf(word),
    );
    expect(at.every((position, i) => position > (at[i - 1] ?? -1))).toBe(true);
    expect(stdout).toMatch(/a label can flip only if its\s+margin\s+is\s+below/);
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
  });

  test("--weights-only runs nothing", () => {
    const { document } = cli.json("verify", "t.pth", "d.onnx", "--weights-only");
    expect(document).toMatchObject({ whole: null, wholeSkipped: "weights only was asked for" });
  });

  test("one changed weight is DIFFERENT, exit 1, and the block is named", async () => {
    const changed = await smallCheckpoint((tensors) => {
      const name = "stage2.1.rbr_dense.conv.weight";
      const tensor = tensors.get(name)!;
      tensors.set(name, {
        ...tensor,
        read: async (start, end) => {
          const bytes = new Uint8Array(await tensor.read(start, end));
          new Float32Array(bytes.buffer)[5]! *= 1.001;
          return bytes;
        },
      });
    });
    cli.write("changed.pth", changed);
    cli.run("convert", "changed.pth", "-o", "changed-deploy.pth");
    const { status, stdout } = cli.run("verify", "train.pth", "changed-deploy.pth");
    expect(status).toBe(1);
    expect(stdout).toContain("DIFFERENT");
    expect(stdout).toMatch(/stage2\.1 .*DIFFERENT/);
  });

  test("the exact weights rounded to float16 are LOWER-PRECISION, exit 2", async () => {
    const source = memorySource("d.pth", readFileSync(cli.path("d.pth")));
    const { state } = chooseStateDict(await readCheckpoint(source));
    const tensors = [];
    for (const [name, tensor] of state.tensors) {
      const bytes = encodeFloat64(await readFloat64(tensor), "float16");
      tensors.push({ name, tensor: lazyTensor({ dtype: "float16", shape: tensor.shape, bytes }) });
    }
    const sink = memorySink();
    await writePytorch(tensors, sink);
    cli.write("half.pth", sink.bytes());
    const { status, stdout } = cli.run("verify", "t.pth", "half.pth");
    expect(stdout).toContain("LOWER-PRECISION(float16)");
    expect(status).toBe(2);
  });

  test("the wrong order is a usage error that says so", () => {
    const { status, stderr } = cli.run("verify", "d.pth", "t.pth");
    expect(status).toBe(64);
    expect(stderr).toMatch(/Give the training form first/);
  });

  test("--golden compares with a recorded output", () => {
    cli.write("x.npy", writeNpy(float32Tensor([1, 3, 32, 32], Array(3 * 32 * 32).fill(0.5))));
    cli.write("y.npy", writeNpy(float32Tensor([1, 10], Array(10).fill(0))));
    const { document } = cli.json("verify", "t.pth", "d.onnx", "--golden", "x.npy", "y.npy");
    // The recorded output is all zeros, so its distance is the whole output: relative L2 is 1.
    expect(document).toMatchObject({ golden: { output: "y", training: { relativeL2: 1 } } });
  });

  test("--golden with one file, --input with neither shape nor .npy", () => {
    expect(cli.run("verify", "t.pth", "d.pth", "--golden", "x.npy").status).toBe(64);
    const { status, stderr } = cli.run("verify", "t.pth", "d.pth", "--input", "large");
    expect(stderr).toContain("expected a shape such as 1x3x224x224");
    expect(status).toBe(64);
  });
});

describe("inspect", () => {
  test("the net as a tree", () => {
    const { status, stdout } = cli.run("inspect", "train.pth");
    expect(status).toBe(0);
    expect(stdout).toContain("custom RepVGG, blocks 1, 2, 1, 1, 10 classes");
    expect(stdout).toMatch(/stage2 {2}2 blocks, 8 → 16 channels/);
    expect(stdout).toMatch(/stage2\.1 +16 → 16 +3×3\+bn ∥ 1×1\+bn ∥ bn/);
    expect(stdout).not.toContain("running_mean");
  });

  test("--tensors lists every tensor with its numbers", () => {
    const { stdout } = cli.run("inspect", "train.pth", "--tensors");
    expect(stdout).toMatch(/^stage0\.rbr_dense\.conv\n {2}weight +\[8, 3, 3, 3\] +float32/m);
  });

  test("--json", () => {
    const { document } = cli.json("inspect", "train.pth", "--tensors");
    expect(document).toMatchObject({
      schema: "reparam.inspect/1",
      form: "training",
      families: ["repvgg"],
      arch: { stageBlocks: [1, 2, 1, 1] },
    });
    const tensors = document["tensors"] as { statistics: { min: number; max: number } }[];
    expect(tensors.every(({ statistics }) => statistics.min <= statistics.max)).toBe(true);
  });

  test("an ONNX model", () => {
    cli.run("create", ...SMALL_FLAGS, "-o", "i.onnx", "--height", "32", "--width", "32");
    const { stdout } = cli.run("inspect", "i.onnx");
    expect(stdout).toContain("x [batch, 3, 32, 32]");
    expect(stdout).toMatch(/\d+ Conv/);
  });
});

describe("a training script's wrapper with several state dicts", () => {
  const wrapper = fileURLToPath(new URL("../fixtures/wrapper-ddp-ema/train.pth", import.meta.url));

  test("convert asks which; --key says it", () => {
    const asked = cli.run("convert", wrapper, "-o", "w.pth");
    expect(asked.status).toBe(64);
    expect(asked.stderr).toMatch(/2 state dicts with different weights: .*--key/);
    const { status, stdout } = cli.run("convert", wrapper, "-o", "w.pth", "--key", KEYS[1]!);
    expect(stdout).toContain(`state dict "${KEYS[1]}"`);
    expect(status).toBe(0);
    expect(cli.run("convert", wrapper, "-o", "w2.pth", "--key", "nowhere").status).toBe(66);
  });

  test("inspect shows the first and lists all", () => {
    const { status, stdout } = cli.run("inspect", wrapper);
    expect(status).toBe(0);
    for (const key of KEYS) expect(stdout).toContain(key);
    expect(stdout).toContain(`shown: ${KEYS[0]}`);
  });
});

describe("plan", () => {
  test("regions with their cost", () => {
    cli.run("create", ...SMALL_FLAGS, "-o", "p.onnx");
    const { status, stdout } = cli.run("plan", "p.onnx");
    expect(status).toBe(0);
    expect(stdout).toContain("6 regions to fuse");
    // 4 in each of two normalized branches' weights, 5 in their biases, and one for the sum.
    expect(stdout).toMatch(/stage0 +5 +3×3\+bn ∥ 1×1\+bn +3 × 3 +5, 6 +240 → 216/);
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
    const { document } = cli.json("plan", "p.onnx");
    const regions = document["regions"] as { before: { macs: number }; after: { macs: number } }[];
    expect(regions[0]).toMatchObject({ k: { weight: 5, bias: 6 } });
    expect(regions).toHaveLength(6);
    // stage0: 3·8·9 + 3·8·1 before, 3·8·9 after
    expect(regions[0]).toMatchObject({ before: { macs: 240 }, after: { macs: 216 } });
  });

  test("a checkpoint's blocks", () => {
    const { document } = cli.json("plan", "train.pth");
    expect(document).toMatchObject({
      schema: "reparam.plan/1",
      kind: "checkpoint",
      form: "training",
    });
  });
});

describe("create", () => {
  test("the same seed gives the same bytes", () => {
    for (const name of ["a", "b"])
      cli.run("create", ...SMALL_FLAGS, "--seed", "5", "-o", `s${name}.pth`);
    expect(readFileSync(cli.path("sa.pth")).equals(readFileSync(cli.path("sb.pth")))).toBe(true);
  });

  test("neither a name nor a net; a name and a net; an unknown name", () => {
    expect(cli.run("create", "-o", "n.pth").status).toBe(64);
    expect(cli.run("create", "RepVGG-A0", "--blocks", "1,1,1,1", "-o", "n.pth").status).toBe(64);
    const { status, stderr } = cli.run("create", "RepVGG-A9", "-o", "n.pth");
    expect(status).toBe(64);
    expect(stderr).toContain("Did you mean RepVGG-A0");
    expect(existsSync(cli.path("n.pth"))).toBe(false);
  });
});

test("--arch insists", () => {
  const { status, stderr } = cli.run("inspect", "train.pth", "--arch", "RepVGG-A0");
  expect(status).toBe(65);
  expect(stderr).toMatch(/holds a custom RepVGG with blocks 1, 2, 1, 1 .*expected RepVGG-A0/);
});

test("demo shows the main job and leaves nothing behind", () => {
  const { status, stdout } = cli.run("demo", "train.pth");
  expect(status).toBe(0);
  expect(stdout.match(/EXACT-FOLD/g)?.length).toBeGreaterThanOrEqual(4);
  expect(existsSync(cli.path("train-deploy.onnx"))).toBe(false);
});

describe("help", () => {
  test("lists the commands; each has examples and exits with 0", () => {
    const { status, stdout } = cli.run("--help");
    expect(status).toBe(0);
    for (const command of ["inspect", "convert", "verify", "plan", "create", "demo"]) {
      expect(stdout).toMatch(new RegExp(`^  ${command} `, "m"));
      const help = cli.run(command, "--help");
      expect(help.status).toBe(0);
      expect(help.stdout).toMatch(/Examples?:\n {2}reparam /);
    }
  });

  test("a misspelt command or option is answered with the right one", () => {
    expect(cli.run("convrt")).toMatchObject({
      status: 64,
      stderr: expect.stringContaining("Did you mean convert?"),
    });
    expect(cli.run("inspect", "train.pth", "--jsno")).toMatchObject({
      status: 64,
      stderr: expect.stringContaining("Did you mean --json?"),
    });
    expect(cli.run("convert", "train.pth").status).toBe(64);
    expect(cli.run("convert", "train.pth", "-o", "x.pth", "--eps", "-1").status).toBe(64);
  });
});

test("docs/json.md describes every field of every document", () => {
  cli.run("create", ...SMALL_FLAGS, "-o", "doc.onnx");
  cli.run("convert", "train.pth", "-o", "doc.pth");
  const runs = [
    ["convert", "train.pth", "-o", "doc-2.pth"],
    ["convert", "doc.onnx", "-o", "doc-3.onnx"],
    ["verify", "train.pth", "doc.pth", "--replicas", "2"],
    ["inspect", "train.pth"],
    ["inspect", "doc.onnx"],
    ["plan", "doc.onnx"],
    ["plan", "train.pth"],
    ["create", ...SMALL_FLAGS, "-o", "doc-4.pth"],
    ["inspect", "nowhere.pth"],
  ];
  const page = readFileSync(new URL("../../docs/json.md", import.meta.url), "utf8");
  for (const args of runs) {
    const { document } = cli.json(...args);
    const schema = String(document["schema"]);
    const section = page.split("\n## ").find((text) => text.startsWith(`\`${schema}\``)) ?? "";
    const undescribed = Object.keys(document).filter(
      (field) => field !== "schema" && !section.includes(`\`${field}\``),
    );
    expect([schema, ...undescribed]).toEqual([schema]);
  }
});

test("a conversion loads neither runtime nor training nor image code", () => {
  const { status, sources } = cli.loadedBy("convert", "train.pth", "-o", "loads.pth");
  expect(status).toBe(0);
  expect(sources).toContain("src/core/errors.ts");
  expect(sources).toContain("node_modules/commander");
  const heavy = /onnxruntime|sharp|protobuf|^src\/(train|diagnose)\//;
  expect(sources.filter((name) => heavy.test(name))).toEqual([]);
  // Only a graph brings the protobuf package with it.
  const graph = cli.loadedBy("convert", "train.pth", "-o", "loads.onnx");
  expect(graph.sources).toContain("node_modules/@bufbuild/protobuf");
});

const KEYS = ["state_dict", "ema"];
const SMALL_FLAGS = [
  ...["--blocks", "1,2,1,1", "--widths", "8,16,16,32", "--stem", "8"],
  ...["--classes", "10", "--seed", "3"],
];
