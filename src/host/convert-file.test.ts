import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openModelFile } from "../convert/open.ts";
import { memorySource } from "../core/byte-source.ts";
import { ReparamError } from "../core/errors.ts";
import { repVggArch } from "../zoo/nets/index.ts";
import { convertFile } from "./convert-file.ts";
import { createModelFile } from "./create-file.ts";
import { createFileSink } from "./file-sink.ts";
import { inspectFile } from "./inspect-file.ts";
import { planFile } from "./plan-file.ts";
import { verifyFiles } from "./verify-files.ts";

// The verdict on a conversion that went wrong: there is no sound way to make one go wrong.
const forced = vi.hoisted(() => ({ word: undefined as string | undefined }));
vi.mock(import("../verify/verify.ts"), async (importOriginal) => {
  const original = await importOriginal();
  return {
    ...original,
    verify: async (...args) => {
      const result = await original.verify(...args);
      if (forced.word === undefined) return result;
      return { ...result, verdict: { ...result.verdict, word: forced.word } } as typeof result;
    },
  };
});

let folder = "";
const at = (name: string): string => join(folder, name);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "reparam-convert-"));
  const small = {
    ...repVggArch("A0", { classes: 5 }),
    ...{ stem: 4, stageBlocks: [1, 1, 1, 1], stageWidths: [4, 4, 4, 8], groups: [1, 1, 1, 1, 1] },
  };
  await createModelFile(small, at("train.pth"), { seed: 2 });
});

afterEach(async () => {
  forced.word = undefined;
  await rm(folder, { recursive: true, force: true });
});

describe("convertFile", () => {
  test("the verdict is on the bytes of the file", async () => {
    const result = await convertFile(at("train.pth"), at("out.onnx"));
    expect(result.published).toBe(true);
    expect(result.verification?.verdict.word).toBe("EXACT-FOLD");
    const bytes = await readFile(at("out.onnx"));
    expect(result.output.sizeBytes).toBe(bytes.byteLength);
    expect((await openModelFile(memorySource("out", bytes))).kind).toBe("onnx");
  });

  test("DIFFERENT: nothing is left behind", async () => {
    forced.word = "DIFFERENT";
    const result = await convertFile(at("train.pth"), at("out.pth"));
    expect(result.published).toBe(false);
    expect(await readdir(folder)).toEqual(["train.pth"]);
  });

  test("UNDECIDED: the nets are run where a runtime is at hand, and the file is kept", async () => {
    forced.word = "UNDECIDED";
    const runtime = vi.fn(async () => {
      throw new Error("asked for");
    });
    await expect(convertFile(at("train.pth"), at("a.onnx"), { runtime })).rejects.toThrow(
      "asked for",
    );
    expect(await readdir(folder)).toEqual(["train.pth"]);
    expect((await convertFile(at("train.pth"), at("b.onnx"))).published).toBe(true);
  });

  test("UNDECIDED: a net that cannot be run stays so, and the reason is kept", async () => {
    forced.word = "UNDECIDED";
    const runtime = async () => {
      throw new ReparamError("refused", { where: 'If "choose"', what: "no float64 reference" });
    };
    const { published, verification } = await convertFile(at("train.pth"), at("a.onnx"), {
      runtime,
    });
    expect(published).toBe(true);
    expect(verification).toMatchObject({
      verdict: { word: "UNDECIDED" },
      wholeSkipped: 'If "choose": no float64 reference',
    });
  });

  test("a caller's check stops it before anything is written", async () => {
    const check = (): never => {
      throw new Error("not this one");
    };
    const failed = convertFile(at("train.pth"), at("out.pth"), { check });
    await expect(failed).rejects.toThrow("not this one");
    expect(await readdir(folder)).toEqual(["train.pth"]);
  });

  test("an abort in the middle leaves nothing", async () => {
    const controller = new AbortController();
    const task = convertFile(at("train.pth"), at("out.pth"), {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(task).rejects.toMatchObject({ tag: "aborted" });
    expect(await readdir(folder)).toEqual(["train.pth"]);
  });

  test("progress says what is being done", async () => {
    const labels: string[] = [];
    await convertFile(at("train.pth"), at("out.pth"), {
      onProgress: ({ label }) => labels.push(label.split(" ")[0]!),
    });
    expect([...new Set(labels)]).toEqual(["writing", "checking"]);
  });
});

test("verify, inspect and plan open and close files by name", async () => {
  await convertFile(at("train.pth"), at("out.safetensors"));
  const verified = await verifyFiles(at("train.pth"), at("out.safetensors"), { replicas: 2 });
  expect(verified.verification).toMatchObject({ verdict: { word: "EXACT-FOLD" } });
  expect(verified.verification.whole?.passed).toBe(true);
  expect((await inspectFile(at("train.pth"))).inspection.blocks).toHaveLength(5);
  expect(await planFile(at("train.pth"))).toMatchObject({ kind: "checkpoint" });
});

describe("reopening a sink", () => {
  test("shows what was written before it has its name, and ends the writing", async () => {
    const sink = await createFileSink(at("x.bin"));
    await sink.write(Uint8Array.of(1, 2, 3));
    const source = await sink.reopen();
    expect(source).toMatchObject({ name: at("x.bin"), byteLength: 3 });
    expect([...(await source.slice(1, 3))]).toEqual([2, 3]);
    await expect(sink.write(Uint8Array.of(4))).rejects.toThrow("after the file was complete");
  });

  test("close gives the name, abort leaves nothing", async () => {
    for (const finish of ["close", "abort"] as const) {
      const sink = await createFileSink(at(`${finish}.bin`));
      await sink.write(Uint8Array.of(1));
      await sink.reopen();
      await sink[finish]();
    }
    expect((await readdir(folder)).sort()).toEqual(["close.bin", "train.pth"]);
  });
});
