/** @file Everything that can be wrong with a file: one clear line, the right exit code, nothing half-written. */

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { float32Tensor, lazyTensor } from "../../src/core/tensor.ts";
import { zipFile } from "../support/pickle-bytes.ts";
import { cliFolder, smallCheckpoint } from "./cli.ts";

const cli = cliFolder();
let sound: Uint8Array;

beforeAll(async () => {
  sound = await smallCheckpoint();
  cli.write("train.pth", sound);
});

/** Runs a conversion that has to fail: returns its error line. */
function failure(file: string, exitCode: number, output = "out.pth"): string {
  const { status, stdout, stderr } = cli.run("convert", file, "-o", output);
  expect(stdout).toBe("");
  expect(stderr.trimEnd().split("\n"), stderr).toHaveLength(1);
  expect(stderr).toMatch(/^error: /);
  expect(stderr).not.toMatch(/\n\s+at |internal/);
  expect(status, stderr).toBe(exitCode);
  expect(leftovers()).toEqual([]);
  return stderr;
}

function leftovers(): string[] {
  return readdirSync(cli.path(".")).filter((name) => /^out|\.tmp$/.test(name));
}

describe("the input", () => {
  test("does not exist", () => {
    expect(failure("nowhere.pth", 66)).toContain("nowhere.pth: no such file");
  });

  test("is a folder", () => {
    mkdirSync(cli.path("folder.pth"));
    expect(failure("folder.pth", 66)).toContain("it is a folder, expected a file");
  });

  test("is empty", () => {
    cli.write("empty.pth", "");
    expect(failure("empty.pth", 65)).toContain("the file is empty");
  });

  test.each([0.1, 0.5, 0.9, 0.999])("is cut off after %f of its bytes", (part) => {
    cli.write("cut.pth", sound.subarray(0, Math.floor(sound.length * part)));
    expect(failure("cut.pth", 65)).toContain("cut.pth");
  });

  test("is a web page", () => {
    cli.write("page.pth", "<!DOCTYPE html><html><body>Sign in</body></html>");
    expect(failure("page.pth", 65)).toContain("an HTML page");
  });

  test("is a zip archive of something else", async () => {
    cli.write("other.pth", await zipFile({ "readme.txt": "hello" }));
    expect(failure("other.pth", 65)).toContain("a zip archive without a PyTorch checkpoint");
  });

  test("is text", () => {
    cli.write("text.pth", "some words that are no weights");
    expect(failure("text.pth", 65)).toContain("is of no format known here");
  });

  test("has a control character in its name: the terminal never gets it", () => {
    expect(failure("\u001b[31mred.pth", 66)).not.toContain("\u001b");
  });
});

describe("the weights", () => {
  test("have a wrong shape", async () => {
    const bytes = await smallCheckpoint((tensors) => {
      tensors.set("stage1.0.rbr_1x1.conv.weight", zeros([8, 7, 1, 1]));
    });
    cli.write("shape.pth", bytes);
    expect(failure("shape.pth", 65)).toContain("stage1.0");
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])(
    "hold %f: the first tensor is named",
    async (value) => {
      const bytes = await smallCheckpoint((tensors) => {
        const name = "stage2.0.rbr_dense.conv.weight";
        const { shape } = tensors.get(name)!;
        const count = shape.reduce((a, b) => a * b, 1);
        const values = Array.from({ length: count }, (_, i) => (i === 17 ? value : 0.5));
        tensors.set(name, lazyTensor(float32Tensor(shape, values)));
      });
      cli.write("nan.pth", bytes);
      expect(failure("nan.pth", 65)).toContain("stage2.0.rbr_dense.conv.weight");
      const { stdout } = cli.run("inspect", "nan.pth", "--tensors");
      expect(stdout).toMatch(Number.isNaN(value) ? /weight .* 1 NaN/ : /weight .* 1 infinite/);
    },
  );

  test("have a negative variance", async () => {
    const bytes = await smallCheckpoint((tensors) => {
      tensors.set(
        "stage1.0.rbr_dense.bn.running_var",
        lazyTensor(float32Tensor([8], [1, 1, -0.5, 1, 1, 1, 1, 1])),
      );
    });
    cli.write("variance.pth", bytes);
    expect(failure("variance.pth", 65)).toMatch(/stage1\.0\.rbr_dense\.bn.*-0\.5/);
  });

  test("have a dtype that nobody knows", () => {
    const header = JSON.stringify({ w: { dtype: "F99", shape: [1], data_offsets: [0, 4] } });
    const bytes = new Uint8Array(8 + header.length + 4);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
    bytes.set(new TextEncoder().encode(header), 8);
    cli.write("dtype.safetensors", bytes);
    expect(failure("dtype.safetensors", 65)).toContain("F99");
  });

  test("belong to no known block", async () => {
    const bytes = await smallCheckpoint((tensors) => {
      tensors.clear();
      tensors.set("encoder.weight", zeros([4, 4]));
    });
    cli.write("plain.pth", bytes);
    expect(failure("plain.pth", 65)).toContain("--recipe");
  });
});

describe("the output", () => {
  test("has an ending that stands for no format", () => {
    expect(failure("train.pth", 64, "out.txt")).toContain("ending .txt, expected one of");
  });

  test("is in a folder that does not exist", () => {
    expect(failure("train.pth", 73, "nowhere/out.pth")).toContain("does not exist");
  });

  test("is in a folder that may not be written", () => {
    if (process.getuid?.() === 0 || process.platform === "win32") {
      console.log("not run here: a folder without write permission (root may write everywhere)");
      return;
    }
    mkdirSync(cli.path("locked"), { mode: 0o555 });
    expect(failure("train.pth", 73, "locked/out.pth")).toContain("permission denied");
    chmodSync(cli.path("locked"), 0o755);
  });

  test("is the input, also by another name and with --force", () => {
    symlinkSync("train.pth", cli.path("alias.pth"));
    for (const name of ["train.pth", "alias.pth"]) {
      const { status, stderr } = cli.run("convert", "train.pth", "-o", name, "--force");
      expect(stderr).toContain("the output is the input file itself");
      expect(status).toBe(64);
    }
    expect(readFileSync(cli.path("train.pth")).equals(sound)).toBe(true);
  });

  test("exists already", () => {
    cli.write("kept.pth", "precious");
    const { status, stderr } = cli.run("convert", "train.pth", "-o", "kept.pth");
    expect(stderr).toContain("the file exists already");
    expect(status).toBe(73);
    expect(readFileSync(cli.path("kept.pth"), "utf8")).toBe("precious");
  });

  test("does not fit on the disk", () => {
    const disk = cli.path("disk");
    mkdirSync(disk);
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=16k", "tmpfs", disk]);
    if (mounted.status !== 0) {
      console.log("not run here: a full disk (needs Linux and the right to mount one)");
      return;
    }
    try {
      expect(failure("train.pth", 73, "disk/out.pth")).toContain("no space left on the disk");
      expect(readdirSync(disk)).toEqual([]);
    } finally {
      spawnSync("umount", [disk]);
    }
  });

  test("would be larger than the shell allows a file to be", () => {
    if (process.platform === "win32") {
      console.log("not run here: a limit on the size of files");
      return;
    }
    const command = `ulimit -f 8; exec "${process.execPath}" "$0" convert train.pth -o out.pth`;
    const { status, stderr } = spawnSync("bash", ["-c", command, cli.main], {
      cwd: cli.path("."),
      encoding: "utf8",
    });
    expect(stderr).toContain("the file system does not allow a file this large");
    expect(status).toBe(73);
    expect(leftovers()).toEqual([]);
  });
});

test("an error is a document under --json", () => {
  const { status, document } = cli.json("inspect", "nowhere.pth");
  expect(status).toBe(66);
  expect(document).toEqual({
    schema: "reparam.error/1",
    tag: "not-found",
    where: "nowhere.pth",
    what: "no such file",
    fix: null,
    exitCode: 66,
  });
});

test("nothing was written by any of these", () => {
  expect(existsSync(cli.path("out.pth"))).toBe(false);
});

function zeros(shape: readonly number[]) {
  const count = shape.reduce((a, b) => a * b, 1);
  return lazyTensor(float32Tensor(shape, new Float32Array(count)));
}
