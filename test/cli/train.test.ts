/** @file `reparam train` on a folder of tiny images: files, verdict, log, resuming, and what it refuses. */

import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import sharp from "sharp";
import { beforeAll, describe, expect, test } from "vitest";
import { createRng } from "../../src/core/rng.ts";
import { cliFolder } from "./cli.ts";

const cli = cliFolder();
const NET = ["--blocks", "1,1,1,1", "--widths", "4,4,8,8", "--image-size", "32"];
const RUN = ["--data", "set", "--epochs", "2", "--batch", "8", "--threads", "1", "--seed", "3"];

/** Red and blue images with noise. */
beforeAll(async () => {
  const rng = createRng(1);
  for (const [split, count] of [
    ["train", 16],
    ["val", 4],
  ] as const) {
    for (const [c, name] of ["blue", "red"].entries()) {
      mkdirSync(cli.path(`set/${split}/${name}`), { recursive: true });
      for (let i = 0; i < count; i++) {
        const pixels = Uint8Array.from({ length: 40 * 40 * 3 }, (_, k) =>
          rng.integer(k % 3 === (c === 0 ? 2 : 0) ? 256 : 90),
        );
        const png = await sharp(pixels, { raw: { width: 40, height: 40, channels: 3 } })
          .png()
          .toBuffer();
        cli.write(`set/${split}/${name}/${i}.png`, png);
      }
    }
  }
  cli.write("set/train/red/broken.png", "no image");
  mkdirSync(cli.path("digits"));
  const header = (magic: number, ...sizes: number[]): Buffer =>
    Buffer.concat([magic, ...sizes].map((n) => Buffer.from(Uint32Array.of(n).buffer).swap32()));
  const images = Buffer.concat([header(0x803, 2, 4, 4), Buffer.alloc(32)]);
  cli.write("digits/train-images-idx3-ubyte", images);
  cli.write("digits/train-labels-idx1-ubyte", Buffer.concat([header(0x801, 2), Buffer.alloc(2)]));
  cpSync(cli.path("set/train/blue"), cli.path("single/blue"), { recursive: true });
});

function logLines(name: string): string[] {
  if (!existsSync(cli.path(name))) return [];
  return readFileSync(cli.path(name), "utf8").split("\n").slice(0, -1);
}

describe("train", () => {
  test("leaves both forms, says how good they are and that they are the same", () => {
    const { status, stdout, stderr } = cli.run(
      "train",
      ...NET,
      ...RUN,
      "-o",
      "a.pth",
      "--deploy",
      "a.onnx",
      "--report",
      "a.html",
    );
    expect(stdout).toContain("custom RepVGG trained on 33 images of set, 2 epochs.");
    expect(stdout).toMatch(/deploy form +\d+\.\d\d %, same class on 8/);
    expect(stdout).toContain("EXACT-FOLD");
    expect(stdout).toContain("1 image could not be decoded: set/train/red/broken.png");
    expect(stderr).toMatch(/^epoch 1: loss .*\nepoch 2: loss .*validation .* %\n$/);
    expect(status).toBe(0);
    expect(existsSync(cli.path("a.pth.run"))).toBe(false);
    const verified = cli.run("verify", "a.pth", "a.onnx");
    expect(verified.status).toBe(0);
    const report = readFileSync(cli.path("a.html"), "utf8");
    expect(report).toMatch(/<svg[^>]*aria-label="Training loss by step"/);
    expect(report).toContain("EXACT-FOLD");
    expect(report).not.toMatch(/(src|href)="(?!#)/);
  });

  test("the same seed gives the same file, and a killed run goes on to it", async () => {
    const args = ["train", ...NET, ...RUN, "--epochs", "8", "--save-every", "1"];
    expect(cli.run(...args, "-o", "b.pth", "--log", "b.jsonl").status).toBe(0);
    const child = cli.start(...args, "-o", "c.pth", "--log", "c.jsonl");
    const ended = new Promise((resolve) => child.once("exit", resolve));
    while (child.exitCode === null && logLines("c.jsonl").length < 6) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    child.kill("SIGKILL");
    await ended;
    expect(existsSync(cli.path("c.pth"))).toBe(false);
    expect(existsSync(cli.path("c.pth.run"))).toBe(true);
    const resumed = cli.run(...args, "-o", "c.pth", "--log", "c.jsonl", "--resume");
    expect(resumed.stderr).not.toContain("error");
    expect(resumed.status).toBe(0);
    expect(readFileSync(cli.path("c.pth")).equals(readFileSync(cli.path("b.pth")))).toBe(true);
    const steps = (name: string): unknown[] =>
      logLines(name)
        .map((line) => JSON.parse(line) as { type: string; elapsedMs: number })
        .filter((record) => record.type === "step")
        .map((record) => ({ ...record, elapsedMs: 0 }));
    expect(steps("c.jsonl")).toEqual(steps("b.jsonl"));
    expect(steps("b.jsonl")).toHaveLength(32); // 8 epochs of ⌊32 / 8⌋
  });

  test("trains on from a checkpoint and from an ONNX model, with weights frozen", () => {
    cli.run("train", ...NET, ...RUN, "-o", "d.pth");
    const more = cli.json(
      "train",
      "d.pth",
      ...RUN,
      "--image-size",
      "32",
      "--freeze",
      "stage0.",
      "--optimizer",
      "adamw",
      "--ema",
      "0.5",
      "-o",
      "e.safetensors",
    );
    expect(more.status).toBe(0);
    expect(more.document).toMatchObject({
      schema: "reparam.train/1",
      epochs: 2,
      verdict: { word: "EXACT-FOLD" },
    });
    cli.run(
      "create",
      "--blocks",
      "1,1,1,1",
      "--widths",
      "4,4,8,8",
      "--classes",
      "2",
      "-o",
      "f.onnx",
      "--statistics",
      "fresh",
    );
    expect(cli.run("train", "f.onnx", ...RUN, "--image-size", "32", "-o", "g.onnx").status).toBe(0);
    const both = ["-o", "h.pth", "--deploy", "i.onnx"];
    const refused = cli.run("train", "f.onnx", ...RUN, "--image-size", "32", ...both);
    expect([refused.status, refused.stderr]).toEqual([
      64,
      expect.stringContaining("made from its graph, and h.pth holds weights only"),
    ]);
  });

  test("an ONNX model whose weights have their names gives a checkpoint of the same numbers", () => {
    expect(cli.run("train", "f.onnx", ...RUN, "--image-size", "32", "-o", "h.pth").status).toBe(0);
    // The same seed gives the same curve: the graph of the run before.
    const compared = cli.run("verify", "h.pth", "g.onnx", "--weights-only");
    expect([compared.stderr, compared.status]).toEqual(["", 0]);
    const { document } = cli.json("inspect", "h.pth");
    expect(document).toMatchObject({ form: "training" });
  });

  test.each([
    [["RepVGG-A9", ...RUN, "-o", "x.pth"], 64, "Did you mean"],
    [[...NET, ...RUN, "--data", "nowhere", "-o", "x.pth"], 66, "nowhere"],
    [
      ["d.pth", ...RUN, "--data", "set/train", "--epochs", "1", "--smoothing", "1", "-o", "x.pth"],
      64,
      "labelSmoothing",
    ],
    [[...NET, ...RUN, "-o", "x.txt"], 64, "ending .txt"],
    [["RepVGG-A0", "--stem", "4", ...RUN, "-o", "x.pth"], 64, "--stem: describes a custom net"],
    [["d.pth", ...NET, ...RUN, "-o", "x.pth"], 64, "--blocks: describes a custom net, but d.pth"],
    [[...NET, "--key", "ema", ...RUN, "-o", "x.pth"], 64, "--key: is about a checkpoint"],
    [["RepVGG-A0", "--key", "ema", ...RUN, "-o", "x.pth"], 64, "--key: is about a checkpoint"],
    [[...NET, ...RUN, "--lr", "1e30", "-o", "x.pth"], 65, "training step"],
    [[...NET, ...RUN, "--mean", "0.5", "-o", "x.pth"], 64, "--mean, --std"],
    [[...NET, ...RUN, "--mean", "0.5,0.5", "--std", "1,1", "-o", "x.pth"], 64, "has 2 numbers"],
    [[...NET, ...RUN, "--mean", "0,0,0", "--std", "1,0,1", "-o", "x.pth"], 64, "std: holds 0"],
    [
      [...NET, ...RUN, "--optimizer", "adamw", "--momentum", "0.5", "-o", "x.pth"],
      64,
      "--momentum",
    ],
    [
      ["d.pth", ...RUN, "--data", "digits", "-o", "x.pth"],
      64,
      "digits/train-images-idx3-ubyte: its samples are [1, 4, 4], the model takes [3, 4, 4]",
    ],
    [[...NET, ...RUN, "--data", "digits", "-o", "x.pth"], 64, "imageSize: is 32, and digits"],
    [[...NET, ...RUN, "--data", "set/train/red", "-o", "x.pth"], 65, "no folders"],
    [[...NET, ...RUN, "--data", "single", "-o", "x.pth"], 64, "single: it has one class"],
    [[...NET, ...RUN, "--image-size", "100000", "-o", "x.pth"], 64, "numbers"],
    [[...NET, ...RUN, "--crop-padding", "32", "-o", "x.pth"], 64, "cropPadding: is 32"],
  ] as const)("%o exits with %i", (args, expected, message) => {
    const { status, stderr } = cli.run("train", ...args);
    expect(stderr).toContain(message);
    expect(status).toBe(expected);
    expect(existsSync(cli.path("x.pth"))).toBe(false);
  });

  // Each would be met only when the training is done, after hours perhaps.
  test.each([
    [["-o", "x.pth", "--deploy", "x.pth"], 64, "x.pth: the training form and the deploy form"],
    [["-o", "x.pth", "--log", "./x.pth"], 64, "x.pth: the training form and the log"],
    [["-o", "x.pth", "--run", "x.pth"], 64, "x.pth: the training form and the run"],
    [["-o", "x.pth", "--report", "no/x.html"], 73, "no/x.html: the folder"],
    [["-o", "x.pth", "--report", "old.html"], 73, "old.html: the file exists already"],
    [["-o", "x.pth", "--deploy", "no/x.onnx"], 73, "no/x.onnx: the folder"],
    [["-o", "x.pth", "--deploy", "set.onnx"], 73, "set.onnx: it is a folder"],
    [["-o", "x.pth", "--log", "no/x.jsonl"], 73, "no/x.jsonl: the log cannot be written"],
    [["-o", "no/x.pth"], 73, "no/x.pth: the folder"],
  ] as const)("%o: said before the first step", (args, expected, message) => {
    cli.write("old.html", "mine");
    mkdirSync(cli.path("set.onnx"), { recursive: true });
    const { status, stderr } = cli.run("train", ...NET, ...RUN, ...args);
    expect(stderr.trimEnd().split("\n"), stderr).toHaveLength(1);
    expect(stderr).toContain(message);
    expect(status).toBe(expected);
    const left = readdirSync(cli.path(".")).filter((name) => /^x\.|\.tmp$/.test(name));
    expect(left).toEqual([]);
    expect(readFileSync(cli.path("old.html"), "utf8")).toBe("mine");
  });

  test("--resume without a run says that it starts one", () => {
    const { status, stderr } = cli.run("train", ...NET, ...RUN, "--resume", "-o", "fresh.pth");
    expect(stderr).toMatch(/^fresh\.pth\.run: no run to go on with, a new one starts\nepoch 1/);
    expect(status).toBe(0);
  });

  test("an existing output and the rest of a run are not overwritten unasked", () => {
    cli.write("y.pth", "mine");
    const { status, stderr } = cli.run("train", ...NET, ...RUN, "-o", "y.pth");
    expect([status, stderr]).toEqual([73, expect.stringContaining("it exists already")]);
    cli.write("z.pth.run", "a run");
    expect(cli.run("train", ...NET, ...RUN, "-o", "z.pth").stderr).toContain("--resume");
    expect(cli.run("train", ...NET, ...RUN, "-o", "z.pth", "--resume").status).toBe(65);
  });
});
