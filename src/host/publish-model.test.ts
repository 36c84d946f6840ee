/** @file ONNX models whose weights stand in a second file, from every job that writes one; a limit of 0 bytes makes them small. */

import {
  type FileHandle,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ReparamError } from "../core/errors.ts";
import { readFloat64 } from "../core/tensor.ts";
import { type RepVggArch, repVggArch } from "../zoo/nets/index.ts";
import { convertFile } from "./convert-file.ts";
import { createModelFile } from "./create-file.ts";
import { insertFile } from "./insert-file.ts";
import { openModelPath } from "./open-model.ts";
import { loadNodeRuntime } from "./ort-node.ts";
import { publishModel } from "./publish-model.ts";
import { verifyFiles } from "./verify-files.ts";

const SMALL: RepVggArch = {
  ...repVggArch("A0", { classes: 5 }),
  ...{ stem: 8, stageBlocks: [1, 1, 1, 1], stageWidths: [8, 8, 8, 8], groups: [1, 1, 1, 1, 1] },
};
/** No byte fits, so that every initializer of 1024 bytes and more goes out. */
const SPLIT = { maxInlineBytes: 0 };

let folder = "";
const at = (name: string): string => join(folder, name);
const names = async (): Promise<string[]> => (await readdir(folder)).sort();

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "reparam-publish-"));
  await createModelFile(SMALL, at("train.onnx"), { seed: 2, height: 32, width: 32 });
});

afterEach(() => vi.restoreAllMocks());
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Every initializer of the model at `path`, as numbers. */
async function weights(path: string): Promise<Map<string, Float64Array>> {
  const { file, close } = await openModelPath(path);
  if (file.kind !== "onnx") throw new Error("expected a graph");
  const read = new Map<string, Float64Array>();
  for (const [name, value] of file.model.graph.initializers)
    read.set(name, await readFloat64(value));
  await close();
  return read;
}

describe("a data file beside the model", () => {
  test("of convert: the same numbers as in one file, and the same function as the training form", async () => {
    await convertFile(at("train.onnx"), at("one.onnx"));
    const split = await convertFile(at("train.onnx"), at("two.onnx"), SPLIT);
    expect(split.verification?.verdict.word).toBe("EXACT-FOLD");
    expect(await names()).toEqual(["one.onnx", "train.onnx", "two.onnx", "two.onnx.data"]);
    const [model, data] = [await stat(at("two.onnx")), await stat(at("two.onnx.data"))];
    expect(split.output.sizeBytes).toBe(model.size + data.size);
    // Four blocks of 8 × 8 × 3 × 3 float32 = 2304 bytes; the stem's 864 bytes are below 1024 and stay.
    expect(data.size).toBe(4 * 2304);
    expect(await weights(at("two.onnx"))).toEqual(await weights(at("one.onnx")));
    const { verification } = await verifyFiles(at("train.onnx"), at("two.onnx"), { replicas: 2 });
    expect(verification).toMatchObject({
      verdict: { word: "EXACT-FOLD" },
      whole: { passed: true },
    });
  });

  test("a disk that turns out full at the model's last byte leaves neither file", async () => {
    const probe = await open(at("train.onnx"));
    const prototype = Object.getPrototypeOf(probe) as FileHandle;
    await probe.close();
    const full = Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
    const sync = prototype.sync;
    let calls = 0;
    // The data file comes first, the model second.
    vi.spyOn(prototype, "sync").mockImplementation(async function (this: FileHandle) {
      if (++calls === 2) throw full;
      await sync.call(this);
    });
    await expect(convertFile(at("train.onnx"), at("two.onnx"), SPLIT)).rejects.toMatchObject({
      tag: "cannot-write",
    });
    expect(calls).toBe(2);
    expect(await names()).toEqual(["train.onnx"]);
  });

  test("of create, read again as the training form", async () => {
    const { output } = await createModelFile(SMALL, at("split.onnx"), { seed: 2, ...SPLIT });
    const { size } = await stat(at("split.onnx.data"));
    expect(output.sizeBytes).toBe((await stat(at("split.onnx"))).size + size);
    const { verification } = await convertFile(at("split.onnx"), at("deploy.onnx"));
    expect(verification?.verdict.word).toBe("EXACT-FOLD");
    expect(await names()).not.toContain("deploy.onnx.data");
  });

  test("of insert", async () => {
    await convertFile(at("train.onnx"), at("plain.onnx"));
    const options = { ...SPLIT, runtime: loadNodeRuntime };
    const result = await insertFile(at("plain.onnx"), at("inserted.onnx"), options);
    expect(result).toMatchObject({ published: true, verification: { whole: { passed: true } } });
    // The dense branches of four blocks; 1 × 1 kernels have 256 bytes and stay.
    expect((await stat(at("inserted.onnx.data"))).size).toBe(4 * 2304);
    const fused = await convertFile(at("inserted.onnx"), at("fused.onnx"));
    expect(fused.verification?.verdict.word).toBe("EXACT-FOLD");
  });

  test("does not come where everything fits, nor beside a checkpoint", async () => {
    await convertFile(at("train.onnx"), at("one.onnx"), { maxInlineBytes: 2 ** 20 });
    await createModelFile(SMALL, at("net.pth"), SPLIT);
    expect(await names()).toEqual(["net.pth", "one.onnx", "train.onnx"]);
  });

  test("that is cut off or missing is an error with its name", async () => {
    await convertFile(at("train.onnx"), at("out.onnx"), SPLIT);
    await truncate(at("out.onnx.data"), 4 * 2304 - 1);
    const cut = verifyFiles(at("train.onnx"), at("out.onnx"), { weightsOnly: true });
    await expect(cut).rejects.toThrow("out.onnx");
    await rm(at("out.onnx.data"));
    const missing = verifyFiles(at("train.onnx"), at("out.onnx"), { weightsOnly: true });
    await expect(missing).rejects.toThrow('external data file "out.onnx.data" does not exist');
  });

  test("that exists is kept without force, and replaced with it", async () => {
    await writeFile(at("out.onnx.data"), "precious");
    const refused = convertFile(at("train.onnx"), at("out.onnx"), SPLIT);
    await expect(refused).rejects.toMatchObject({ tag: "cannot-write" });
    expect(await names()).toEqual(["out.onnx.data", "train.onnx"]);
    expect(await readFile(at("out.onnx.data"), "utf8")).toBe("precious");
    await convertFile(at("train.onnx"), at("out.onnx"), { ...SPLIT, force: true });
    expect((await stat(at("out.onnx.data"))).size).toBe(4 * 2304);
  });
});

describe("publishModel", () => {
  const written = { model: undefined, write: async () => "facts" };

  test("names the file after the check, which reads what was written", async () => {
    const bytes = await readFile(at("train.onnx"));
    const result = await publishModel(
      at("copy.onnx"),
      {
        model: undefined,
        write: async (sink) => {
          await sink.write(bytes);
          return "facts";
        },
        check: async (open) => {
          expect(await names()).not.toContain("copy.onnx");
          const file = await open({ epsilon: 0.5 });
          expect(file).toMatchObject({ kind: "onnx", reading: { epsilon: 0.5 } });
          return undefined;
        },
      },
      {},
    );
    expect(result).toEqual({
      output: { path: at("copy.onnx"), sizeBytes: bytes.byteLength },
      written: "facts",
      verification: undefined,
      published: true,
    });
    expect(await readFile(at("copy.onnx"))).toEqual(bytes);
  });

  test.each(["write", "check"] as const)("leaves nothing where %s fails", async (step) => {
    const fail = async (): Promise<never> => {
      throw new ReparamError("bad-data", { where: step, what: "failed" });
    };
    const write = async (sink: { write(bytes: Uint8Array): Promise<void> }) =>
      await sink.write(Uint8Array.of(1));
    const publication = { model: undefined, write, [step]: fail };
    await expect(publishModel(at("out.onnx"), publication, {})).rejects.toThrow(`${step}: failed`);
    expect(await names()).toEqual(["train.onnx"]);
  });

  test("refuses an existing file before anything is written", async () => {
    const task = publishModel(at("train.onnx"), written, {});
    await expect(task).rejects.toMatchObject({ tag: "cannot-write" });
  });
});
