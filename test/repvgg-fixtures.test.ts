/** @file PyTorch's RepVGG checkpoints against PyTorch's outputs: inferred without flags, built in both forms, run. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { type ByteSource, memorySource } from "../src/core/byte-source.ts";
import { decodeFloat64, type FloatDType, UNIT_ROUNDOFF } from "../src/core/dtype.ts";
import { readFloat64, readTensor, type StateDict } from "../src/core/tensor.ts";
import { chooseStateDict, readCheckpoint } from "../src/formats/checkpoint.ts";
import { readNpy } from "../src/formats/npy/read-npy.ts";
import { loadNodeRuntime } from "../src/host/ort-node.ts";
import { buildRepVgg } from "../src/zoo/nets/build-repvgg.ts";
import { inferRepVgg } from "../src/zoo/nets/infer-repvgg.ts";
import { repVggBlocks } from "../src/zoo/nets/repvgg-arch.ts";
import { dataFolder } from "./data-folder.ts";

/** What the two sets of cases say in common; own cases state the arch in our words. */
interface Case {
  readonly family?: string;
  readonly arch: { readonly stageWidths?: readonly number[]; readonly layout?: string };
  readonly checkpoint?: { readonly key: string; readonly prefix: string };
  readonly blocks?: readonly {
    readonly prefix: string;
    readonly in: number;
    readonly out: number;
    readonly groups: number;
    readonly stride: readonly number[];
  }[];
}

function casesIn(folder: string): [string, string][] {
  return readdirSync(folder)
    .filter((name) => existsSync(join(folder, name, "case.json")))
    .map((name): [string, string] => [name, join(folder, name)])
    .filter(([, path]) => isRepVgg(readCase(path)));
}

function readCase(folder: string): Case {
  return JSON.parse(readFileSync(join(folder, "case.json"), "utf8")) as Case;
}

function isRepVgg(data: Case): boolean {
  return data.arch.layout !== undefined || ["repvgg", "repvggplus"].includes(data.family ?? "");
}

function openBytes(path: string): ByteSource {
  return memorySource(path, readFileSync(path));
}

async function openState(path: string, data: Case): Promise<StateDict> {
  const checkpoint = await readCheckpoint(openBytes(path));
  // The wrapper case holds EMA weights too; its deploy files are plain but keep the prefix.
  const key = path.endsWith("train.pth") ? data.checkpoint?.key : "";
  const { state } = chooseStateDict(checkpoint, key || undefined);
  return strip(state, data.checkpoint?.prefix ?? "");
}

function strip(state: StateDict, prefix: string): StateDict {
  const cut = <T>(map: ReadonlyMap<string, T>): Map<string, T> =>
    new Map(
      [...map].map(([key, value]) => [
        key.slice(key.startsWith(prefix) ? prefix.length : 0),
        value,
      ]),
    );
  return { tensors: cut(state.tensors), modules: cut(state.modules) };
}

async function readArray(path: string): Promise<Float64Array> {
  return readFloat64(await readNpy(openBytes(path)));
}

function relativeL2(found: Float64Array, truth: Float64Array): number {
  expect(found.length).toBe(truth.length);
  let error = 0;
  let norm = 0;
  for (let i = 0; i < truth.length; i++) {
    error += (found[i]! - truth[i]!) ** 2;
    norm += truth[i]! ** 2;
  }
  return Math.sqrt(error / norm);
}

/**
 * A float32 run against the float64 truth: every block rounds its sums and its stored values, some units each, and the
 * errors add along the depth. Fused weights that were stored with a coarser type have that type's unit instead (the
 * truth is the training form's). An epsilon of 1e-3 for 1e-5 was seen to be off by
 * 3e-3 to 8e-2 in these cases.
 */
function errorBound(blocks: number, stored: FloatDType): number {
  return 8 * blocks * UNIT_ROUNDOFF[stored];
}

const own = fileURLToPath(new URL("fixtures", import.meta.url));
const shared = dataFolder();
const cases = [...casesIn(own), ...(shared ? casesIn(join(shared, "fixtures")) : [])];
if (!shared) console.info("repvgg-fixtures: no data folder, origin fixtures were not run");

describe.each(cases)("%s", (_, folder) => {
  const data = readCase(folder);

  test.each(["training", "deploy"] as const)("%s form gives PyTorch's output", async (form) => {
    const file = form === "training" ? "train.pth" : "deploy.pth";
    const state = await openState(join(folder, file), data);
    const inferred = inferRepVgg(state, { where: file });
    expect(inferred.form).toBe(form);
    const blocks = repVggBlocks(inferred.arch);
    for (const [i, block] of (data.blocks ?? []).entries()) {
      expect(blocks[i]).toMatchObject({
        prefix: block.prefix,
        inC: block.in,
        outC: block.out,
        group: block.groups,
        stride: block.stride[0],
      });
    }
    const { arch } = inferred;
    const fused = state.tensors.get("stage0.rbr_reparam.weight")?.dtype;
    const stored = fused === "float16" ? fused : "float32";
    if (data.arch.stageWidths && arch.layout === "repvgg") {
      expect(arch.stageWidths).toEqual(data.arch.stageWidths);
    }
    const auxStages =
      form === "training" && arch.auxHeads ? ["stage1", "stage2", "stage3_first"] : [];
    const model = buildRepVgg(arch, form, state, { aux: auxStages.length > 0 });
    const session = await (await loadNodeRuntime()).createSession(model, { threads: 1 });
    const x = await readTensor(await readNpy(openBytes(join(folder, "x.npy"))));
    const outputs = await session.run(new Map([["x", x]]));
    const goldens: [string, string][] = [
      ["y", "y_train_f64.npy"],
      ...auxStages.map((s): [string, string] => [`${s}_aux`, `y_train_f64_${s}_aux.npy`]),
    ];
    for (const [output, golden] of goldens) {
      if (!existsSync(join(folder, golden))) continue;
      const y = outputs.get(output)!;
      const truth = await readArray(join(folder, golden));
      const error = relativeL2(decodeFloat64(y.bytes, y.dtype), truth);
      expect(error, output).toBeLessThan(errorBound(blocks.length, stored));
    }
    await session.release();
  });
});

test("a half-converted net takes each block as it is", async () => {
  const folder = join(own, "repvgg");
  const data = readCase(folder);
  const training = await openState(join(folder, "train.pth"), data);
  const deploy = await openState(join(folder, "deploy.pth"), data);
  const early = (key: string): boolean => /^stage[01]\b/.test(key);
  const tensors = new Map([
    ...[...deploy.tensors].filter(([key]) => early(key)),
    ...[...training.tensors].filter(([key]) => !early(key)),
  ]);
  const state: StateDict = { tensors, modules: new Map() };
  const { arch, form } = inferRepVgg(state);
  expect(form).toBe("mixed");
  const session = await (await loadNodeRuntime()).createSession(buildRepVgg(arch, form, state));
  const x = await readTensor(await readNpy(openBytes(join(folder, "x.npy"))));
  const y = (await session.run(new Map([["x", x]]))).get("y")!;
  await session.release();
  const truth = await readArray(join(folder, "y_train_f64.npy"));
  expect(relativeL2(decodeFloat64(y.bytes, y.dtype), truth)).toBeLessThan(errorBound(7, "float32"));
});
