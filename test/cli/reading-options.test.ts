/** @file What a user says about a checkpoint, or what the deploy file beside it says: the family, the identity branch. */

import { beforeAll, describe, expect, test } from "vitest";
import { memorySink } from "../../src/core/byte-sink.ts";
import { createRng } from "../../src/core/rng.ts";
import { float32Tensor, type LazyTensor, lazyTensor } from "../../src/core/tensor.ts";
import { writePytorch } from "../../src/formats/pytorch/write-pytorch.ts";
import { cliFolder, smallCheckpoint } from "./cli.ts";

const cli = cliFolder();

describe("a family that the keys leave open", () => {
  beforeAll(async () => {
    const bytes = await smallCheckpoint((tensors) => {
      const entries = [...tensors];
      tensors.clear();
      for (const [name, tensor] of entries) tensors.set(name.replace(/^stage/, "0."), tensor);
    });
    cli.write("open.pth", bytes);
  });

  test("is asked for, and then written with that family's names", () => {
    const asked = cli.run("convert", "open.pth", "-o", "none.pth");
    expect(asked.status).toBe(64);
    expect(asked.stderr).toContain("--family repvgg or --family zcls-repvgg or --family yolov6");
    const told = ["convert", "open.pth", "-o", "zcls.pth", "--family", "zcls-repvgg"];
    expect(cli.run(...told).status).toBe(0);
  });

  test("is known when verifying against a file with the names that only one family gives", () => {
    const { status, stdout } = cli.run("verify", "open.pth", "zcls.pth");
    expect(stdout).toContain("EXACT-FOLD");
    expect(stdout).toContain("family zcls-repvgg");
    expect(status).toBe(0);
    expect(cli.run("diagnose", "open.pth", "zcls.pth", "--weights-only").status).toBe(0);
  });

  test("is still asked for where the names are those of several", () => {
    const told = ["convert", "open.pth", "-o", "repvgg.pth", "--family", "repvgg"];
    expect(cli.run(...told).status).toBe(0);
    const { status, stderr } = cli.run("verify", "open.pth", "repvgg.pth");
    expect(status).toBe(64);
    expect(stderr).toContain("--family repvgg or --family yolov6");
  });
});

describe("--no-identity", () => {
  const recipe = {
    name: "bare-skip",
    epsilon: 1e-5,
    blocks: [
      {
        kind: "BareSkip",
        anchor: "conv3.weight",
        graph: { sum: [{ conv: "conv3" }, { identity: true, sameChannels: true }] },
        deploy: { weight: "fused.weight", bias: "fused.bias" },
      },
    ],
  };
  const reading = ["--recipe", "bare.json"];

  beforeAll(async () => {
    cli.write("bare.json", JSON.stringify(recipe));
    const rng = createRng(5);
    const random = (shape: readonly number[], count: number): LazyTensor =>
      lazyTensor(
        float32Tensor(
          shape,
          Array.from({ length: count }, () => rng.normal()),
        ),
      );
    const sink = memorySink();
    await writePytorch(
      [
        { name: "a.conv3.weight", tensor: random([4, 4, 3, 3], 144) },
        { name: "a.conv3.bias", tensor: random([4], 4) },
      ],
      sink,
    );
    cli.write("bare.pth", sink.bytes());
  });

  test("is what the note about a branch without keys offers", () => {
    const { status, stdout } = cli.run("convert", "bare.pth", "-o", "with.pth", ...reading);
    expect(status).toBe(0);
    expect(stdout.replace(/\s+/g, " ")).toContain("(--no-identity leaves them out)");
  });

  test("leaves the branch out, and verify tells the two readings apart", () => {
    const flags = [...reading, "--no-identity"];
    const { status, stdout } = cli.run("convert", "bare.pth", "-o", "without.pth", ...flags);
    expect(status).toBe(0);
    expect(stdout).not.toContain("identity");
    expect(cli.run("verify", "bare.pth", "without.pth", ...flags).status).toBe(0);
    expect(cli.run("verify", "bare.pth", "without.pth", ...reading).status).toBe(1);
    expect(cli.run("verify", "bare.pth", "with.pth", ...flags).status).toBe(1);
    expect(cli.run("inspect", "bare.pth", ...reading).stdout).toContain("∥ identity");
    expect(cli.run("inspect", "bare.pth", ...flags).stdout).not.toContain("identity");
  });

  const fixes = (...args: string[]): string[] => {
    const { findings } = cli.json("diagnose", ...args, "--weights-only").document as {
      findings: { cause: string; fix: string }[];
    };
    return findings.map(({ cause, fix }) => `${cause}: ${fix}`);
  };

  test("is named where the branch is missing and no key says that it should be there", () => {
    const [missing] = fixes("bare.pth", "without.pth", ...reading);
    expect(missing).toMatch(/^identity-missing: .*read the training form with --no-identity\.$/);
    const [extra] = fixes("bare.pth", "with.pth", ...reading, "--no-identity");
    expect(extra).toMatch(/^branch-extra: .*leave --no-identity out/);
  });

  test("is not named where the branch has keys", async () => {
    cli.write("keyed.pth", await smallCheckpoint());
    const gone = await smallCheckpoint((tensors) => {
      for (const name of [...tensors.keys()]) {
        if (name.startsWith("stage2.1.rbr_identity.")) tensors.delete(name);
      }
    });
    cli.write("gone.pth", gone);
    expect(cli.run("convert", "gone.pth", "-o", "gone-deploy.pth").status).toBe(0);
    expect(fixes("keyed.pth", "gone-deploy.pth")).toEqual([
      "identity-missing: Fuse rbr_identity too: it exists where input and output channels agree and the stride is 1.",
    ]);
  });
});

describe("--recipe", () => {
  const block = (graph: object): object => ({
    kind: "Own",
    anchor: "rbr_dense.conv.weight",
    graph,
    deploy: { weight: "fused.weight", bias: "fused.bias" },
  });
  const dense = { sequence: [{ conv: "rbr_dense.conv" }, { bn: "rbr_dense.bn" }] };
  const own = (name: string, graph: object): string =>
    JSON.stringify({ name, epsilon: 1e-3, blocks: [block(graph)] });

  beforeAll(async () => {
    cli.write("recipe-train.pth", await smallCheckpoint());
    cli.write("narrow.json", own("narrow", dense));
    cli.write("other.json", own("other", { conv: "no_such_key" }));
    cli.write("again.json", own("narrow", dense));
  });

  // The built-in family that fits would be taken in its place, with another epsilon and other names.
  test.each([
    [["narrow.json"], /^error: recipe narrow: no block of .* Own of narrow but has .*rbr_1x1/],
    [["other.json"], /^error: recipe other: no block of .* Own of other but lacks .*no_such_key/],
    [["narrow.json", "again.json"], /^error: recipe narrow: two recipes have this name/],
  ])("%j: one that nothing follows is an error, not passed over", (files, message) => {
    const recipes = files.flatMap((file) => ["--recipe", file]);
    for (const args of [["convert", "-o", "recipe-out.pth"], ["plan"], ["inspect"]]) {
      const [command = "", ...rest] = args;
      const { status, stderr } = cli.run(command, "recipe-train.pth", ...rest, ...recipes);
      expect(stderr).toMatch(message);
      expect(stderr.trimEnd().split("\n")).toHaveLength(1);
      expect(status).toBe(64);
    }
  });
});
