/**
 * @file Conversion and verdict over the large test data and the published models: what we write is exact, what the
 * origins wrote is equal up to the roundings that were counted, their known faults are found, and nothing sound is
 * called different.
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { planConversion, type TargetFormat, writeConversion } from "../src/convert/conversion.ts";
import { type ModelFile, openModelFile, type ReadingOptions } from "../src/convert/open.ts";
import { memorySink } from "../src/core/byte-sink.ts";
import { memorySource } from "../src/core/byte-source.ts";
import { isReparamError } from "../src/core/errors.ts";
import { loadNodeRuntime } from "../src/host/ort-node.ts";
import { type Verification, verify } from "../src/verify/verify.ts";
import { askedFamily } from "./asked-families.ts";
import { dataFolder } from "./data-folder.ts";

const folder = dataFolder();
if (folder === undefined) console.log("acceptance-verify: not run, no data folder (REPARAM_DATA)");
const fixtures = join(folder ?? "", "fixtures");

function open(path: string, options: ReadingOptions = {}): Promise<ModelFile> {
  return openModelFile(memorySource(basename(path), readFileSync(path)), options);
}

async function converted(
  file: ModelFile,
  target: TargetFormat,
  options: ReadingOptions,
): Promise<ModelFile> {
  const sink = memorySink();
  await writeConversion(await planConversion(file, target), sink);
  return openModelFile(memorySource(`out.${target}`, sink.bytes()), { ...options, key: undefined });
}

/** Few replicas keep the run short; the conversions here stay below 0.95 of the largest of five. */
const whole = { runtime: loadNodeRuntime, replicas: 5 } as const;

interface Case {
  readonly name: string;
  readonly family: string;
  readonly files: readonly string[];
}

const cases: Case[] =
  folder === undefined
    ? []
    : readdirSync(fixtures)
        .filter((name) => existsSync(join(fixtures, name, "deploy.pth")))
        .map((name) => ({
          name,
          family: JSON.parse(readFileSync(join(fixtures, name, "case.json"), "utf8")).family,
          files: readdirSync(join(fixtures, name)),
        }));
const sound = cases.filter(({ name }) => !name.startsWith("originbug-"));
/** Families whose whole nets are known, so that a checkpoint can become ONNX. */
const knownNet = ({ family }: Case): boolean => family === "repvgg" || family === "repvggplus";

function expectExact({ verdict, weights }: Verification): void {
  expect(verdict.reasons.join("; ")).toContain("correctly rounded");
  expect(verdict.word).toBe("EXACT-FOLD");
  expect(weights.maxOmega).toBeLessThanOrEqual(1);
}

function expectWithinCount({ verdict, weights }: Verification): void {
  expect(verdict.reasons.join("; ")).not.toMatch(/differs?:/);
  expect(["EXACT-FOLD", "EQUAL-UP-TO-ROUNDING"]).toContain(verdict.word);
  expect(weights.blocks.filter((block) => block.status === "unmatched")).toEqual([]);
  expect(weights.maxOmegaOverK).toBeLessThanOrEqual(1);
}

describe.runIf(folder !== undefined)("what we write", () => {
  const targets = (one: Case): TargetFormat[] =>
    knownNet(one) ? ["pytorch", "safetensors", "onnx"] : ["pytorch", "safetensors"];

  test.each(cases.flatMap((one) => targets(one).map((target) => ({ ...one, target }))))(
    "$name as $target is exact",
    async ({ name, target }) => {
      const options = { family: askedFamily(name) };
      const train = await open(join(fixtures, name, "train.pth"), options);
      expectExact(await verify(train, await converted(train, target, options)));
    },
  );

  const graphs = cases.flatMap((one) => {
    const train = one.files.find((file) => file === "train.onnx" || file === "train-preserve.onnx");
    return train ? [{ ...one, train }] : [];
  });
  test.each(graphs)("$name: the graph fused is the same function", async ({ name, train }) => {
    const file = await open(join(fixtures, name, train));
    const result = await verify(file, await converted(file, "onnx", {}), whole);
    expectWithinCount(result);
    expect(result.weights.maxOmega).toBeLessThanOrEqual(1);
    expect(result.whole?.passed).toBe(true);
  });
});

describe.runIf(folder !== undefined)("what the origins wrote", () => {
  test.each(sound)("$name: checkpoint and checkpoint", async ({ name }) => {
    const options = { family: askedFamily(name) };
    const train = await open(join(fixtures, name, "train.pth"), options);
    expectWithinCount(await verify(train, await open(join(fixtures, name, "deploy.pth"), options)));
  });

  const exported = sound.filter(({ files }) => files.includes("deploy.onnx"));
  test.each(exported)("$name: checkpoint and exported graph", async ({ name }) => {
    const options = { family: askedFamily(name) };
    const train = await open(join(fixtures, name, "train.pth"), options);
    const deploy = await open(join(fixtures, name, "deploy.onnx"));
    expectWithinCount(await verify(train, deploy));
  });

  const both = exported.flatMap((one) =>
    one.files
      .filter((file) => /^train(-preserve|-eval)?\.onnx$/.test(file))
      .map((train) => ({ name: one.name, train })),
  );
  test.each(both)("$name: $train and exported graph", async ({ name, train }) => {
    const training = await open(join(fixtures, name, train));
    const deploy = await open(join(fixtures, name, "deploy.onnx"));
    const { verdict } = await verify(training, deploy, whole);
    expect(verdict.reasons.join("; ")).not.toMatch(/differs?:/);
    expect(["EXACT-FOLD", "EQUAL-UP-TO-ROUNDING"]).toContain(verdict.word);
  });
});

describe.runIf(folder !== undefined)("faults of origins", () => {
  test.each(cases.filter(({ name }) => name.startsWith("originbug-")))(
    "$name: right weights in a wrong graph are different",
    async ({ name }) => {
      const training = await open(join(fixtures, name, "train.onnx"));
      const { verdict } = await verify(
        training,
        await open(join(fixtures, name, "deploy.onnx")),
        whole,
      );
      expect(verdict.word).toBe("DIFFERENT");
    },
  );

  test.each(["deploy-origin-fuse.pth", "deploy-origin-fuse.onnx"])(
    "yolov7's own fuse of grouped blocks (%s): the blocks are named",
    async (file) => {
      const at = join(fixtures, "yolov7-repconv-grouped");
      const train = await open(join(at, "train.pth"));
      const { verdict, weights } = await verify(train, await open(join(at, file)));
      expect(verdict.word).toBe("DIFFERENT");
      // The identity of grouped blocks is right in the first group only; the block without groups is right.
      const states = new Map(weights.blocks.map((block) => [block.name, block.status]));
      expect(
        [...states.values()].filter((status) => status === "different").length,
      ).toBeGreaterThan(0);
      expect([...states.values()]).toContain("rounding");
    },
  );
});

interface Variant {
  readonly file: string;
  readonly state: readonly string[] | string;
  readonly same_values: string;
}

describe.runIf(folder !== undefined)("wrappers", () => {
  const at = join(fixtures, "wrappers");
  const variants: Variant[] =
    folder === undefined
      ? []
      : JSON.parse(readFileSync(join(at, "case.json"), "utf8")).variants.filter(
          ({ file }: Variant) => existsSync(join(at, file)),
        );

  test.each(variants)("$file", async ({ file, state, same_values }) => {
    // A whole pickled module has no path; what it holds is found from the module tree.
    const options = Array.isArray(state) && state.length > 0 ? { key: state.join(".") } : {};
    const opened = open(join(at, file), options);
    const train = await opened.catch((error: unknown) => error);
    if (isReparamError(train)) {
      // Refused cleanly: the message says where and what.
      expect(["bad-data", "not-found", "ambiguous"]).toContain(train.tag);
      return;
    }
    const training = train as ModelFile;
    if (training.kind !== "checkpoint") throw new Error("not a checkpoint");
    const plan = await planConversion(training, "safetensors");
    if (plan.kind === "checkpoint" && plan.plan.form !== "deploy") {
      expectExact(await verify(training, await converted(training, "pytorch", {})));
      expectExact(await verify(training, await converted(training, "safetensors", {})));
    }
    if (same_values === "exact") {
      const { verdict } = await verify(training, await open(join(at, "deploy.pth")));
      expect(["EXACT-FOLD", "EQUAL-UP-TO-ROUNDING", "UNDECIDED"]).toContain(verdict.word);
    }
  });
});

describe.runIf(folder !== undefined)("published models", () => {
  const real = join(folder ?? "", "real");
  const files =
    folder === undefined || !existsSync(real)
      ? []
      : readdirSync(real, { recursive: true, encoding: "utf8" }).filter((path) =>
          /\.(pth|ckpt|pkl|th|onnx)$/.test(path),
        );

  test.each(files)("%s is read, and converted or refused cleanly", async (path) => {
    const file = await open(join(real, path)).catch((error: unknown) => {
      // Several state dicts: the message offers them, and any of them opens.
      if (isReparamError(error, "ambiguous")) return undefined;
      throw error;
    });
    if (!file) return;
    const target = file.kind === "onnx" ? "onnx" : "pytorch";
    const outcome = await converted(file, target, {}).catch((error: unknown) => error);
    if (isReparamError(outcome)) return expect(["refused", "ambiguous"]).toContain(outcome.tag);
    if (outcome instanceof Error) throw outcome;
    const { verdict } = await verify(file, outcome as ModelFile);
    expect(["EXACT-FOLD", "EQUAL-UP-TO-ROUNDING"]).toContain(verdict.word);
  });

  test.runIf(existsSync(join(real, "huai-chang+RVSR")))("RVSR: the authors' own pair", async () => {
    const train = await open(join(real, "huai-chang+RVSR/pretrained.ckpt"));
    const deploy = await open(join(real, "huai-chang+RVSR/RVSR_rep.pth"));
    const { verdict, weights } = await verify(train, deploy);
    expect(weights.blocks.filter((block) => block.status === "unmatched")).toEqual([]);
    expect(weights.blocks).toHaveLength(9);
    expect(["EXACT-FOLD", "EQUAL-UP-TO-ROUNDING"]).toContain(verdict.word);
  });
});
