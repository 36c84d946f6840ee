/**
 * @file Insertion into checkpoints: the keys that the family's own insertion tool gives, certificate A on the written
 * bytes, pairing of convolutions and batch norms by name, and fusing back to the folded original.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { planConversion } from "../src/convert/conversion.ts";
import { planCheckpointInsertion } from "../src/convert/insert-checkpoint.ts";
import { type CheckpointFile, openModelFile } from "../src/convert/open.ts";
import { memorySink } from "../src/core/byte-sink.ts";
import { memorySource } from "../src/core/byte-source.ts";
import { createRng } from "../src/core/rng.ts";
import { type LazyTensor, readFloat64 } from "../src/core/tensor.ts";
import { writePytorch } from "../src/formats/pytorch/write-pytorch.ts";
import { writeSafetensors } from "../src/formats/safetensors/write-safetensors.ts";
import { openFile } from "../src/host/file-source.ts";
import { type Verification, verify } from "../src/verify/verify.ts";
import { createRepVgg, inferRepVgg, repVggArch } from "../src/zoo/nets/index.ts";
import { dataFolder } from "./data-folder.ts";
import { normal, tensorOf } from "./support/random-conv-net.ts";

type Plan = ReturnType<typeof planCheckpointInsertion>;

async function checkpoint(
  tensors: ReadonlyMap<string, LazyTensor>,
  format: "pth" | "safetensors" = "pth",
): Promise<CheckpointFile> {
  const named = [...tensors].map(([name, tensor]) => ({ name, tensor }));
  const sink = memorySink();
  await (format === "pth" ? writePytorch(named, sink) : writeSafetensors(named, sink));
  const file = await openModelFile(memorySource(`plain.${format}`, sink.bytes()));
  if (file.kind !== "checkpoint") throw new Error("not a checkpoint");
  return file;
}

/** The inserted checkpoint, written and read back. */
async function written(file: CheckpointFile, plan: Plan): Promise<CheckpointFile> {
  const sink = memorySink();
  await writePytorch(plan.tensors, sink);
  const again = await openModelFile(memorySource("inserted.pth", sink.bytes()), {
    ...file.reading,
    key: undefined,
    family: plan.family.family,
  });
  if (again.kind !== "checkpoint") throw new Error("not a checkpoint");
  return again;
}

async function certify(file: CheckpointFile, plan: Plan): Promise<Verification> {
  const inserted = await written(file, plan);
  return verify(inserted, { ...inserted, name: "original", state: plan.original! });
}

const rng = createRng(3);
const conv = (name: string, shape: readonly number[], bias = false): [string, LazyTensor][] => [
  [`${name}.weight`, normal(rng, shape, "float32")],
  ...(bias ? [[`${name}.bias`, normal(rng, [shape[0]!], "float32")] as [string, LazyTensor]] : []),
];
const bn = (name: string, width: number): [string, LazyTensor][] => [
  [`${name}.weight`, normal(rng, [width], "float32")],
  [`${name}.bias`, normal(rng, [width], "float32")],
  [`${name}.running_mean`, normal(rng, [width], "float32")],
  [`${name}.running_var`, tensorOf([width], "float32", () => rng.uniform(0.3, 4))],
];

/** conv name → batch norm name, or the reason why it was left alone. */
function pairs(plan: Plan): Record<string, string | undefined> {
  return Object.fromEntries([
    ...plan.insertions.map(({ conv: { name, keys } }) => [
      name,
      keys.find((key) => key.endsWith(".running_mean"))?.replace(".running_mean", ""),
    ]),
    ...plan.leftAlone.map(({ name, reason }) => [name, reason]),
  ]);
}

describe("which batch norm belongs to a convolution", () => {
  test("by number, and by names that differ in conv and bn", async () => {
    const file = await checkpoint(
      new Map([
        ...conv("features.0", [8, 3, 3, 3], true),
        ...bn("features.1", 8),
        ...conv("stem.conv", [8, 8, 3, 3]),
        ...bn("stem.bn", 8),
        ...conv("block.conv1", [8, 8, 3, 3]),
        ...conv("block.conv2", [8, 8, 3, 3]),
        ...bn("block.bn1", 8),
        ...bn("block.norm2", 8),
        ...conv("head", [4, 8, 5, 5], true),
      ]),
    );
    // conv1 is followed by conv2 in the file and by bn1 in the net: the name counts, not what is registered next.
    expect(pairs(planCheckpointInsertion(file))).toEqual({
      "features.0": "features.1",
      "stem.conv": "stem.bn",
      "block.conv1": "block.bn1",
      "block.conv2": "block.norm2",
      head: undefined,
    });
  });

  test("not one that stands before it, as in pre-activation nets", async () => {
    const file = await checkpoint(
      new Map([
        ...bn("layer.bn1", 8),
        ...conv("layer.conv1", [8, 8, 3, 3]),
        ...bn("layer.bn2", 8),
        ...conv("layer.conv2", [16, 8, 3, 3]),
      ]),
    );
    expect(pairs(planCheckpointInsertion(file))).toEqual({
      "layer.conv1": undefined,
      "layer.conv2": undefined,
    });
  });

  test("in a file sorted by name, what widths tell about the net; else it is asked for", async () => {
    const post = new Map([
      ...bn("a.bn1", 16),
      ...conv("a.conv1", [16, 8, 3, 3]),
      ...bn("a.bn2", 16),
      ...conv("a.conv2", [16, 16, 3, 3]),
    ]);
    expect(pairs(planCheckpointInsertion(await checkpoint(post, "safetensors")))).toEqual({
      "a.conv1": "a.bn1",
      "a.conv2": "a.bn2",
    });
    const open = new Map([...bn("a.bn2", 16), ...conv("a.conv2", [16, 16, 3, 3])]);
    const file = await checkpoint(open, "safetensors");
    expect(pairs(planCheckpointInsertion(file))["a.conv2"]).toContain("may stand before or after");
    expect(pairs(planCheckpointInsertion(file, { batchNorm: "after" }))).toEqual({
      "a.conv2": "a.bn2",
    });
    expect(pairs(planCheckpointInsertion(file, { batchNorm: "none" }))).toEqual({
      "a.conv2": undefined,
    });
  });
});

describe("convolutions that are left alone, with the reason", () => {
  test.each([
    ["even", conv("even", [4, 4, 4, 4]), "4×4"],
    ["row", conv("row", [4, 4, 1, 3]), "square"],
    ["line", conv("line", [4, 4, 3]), "1 spatial axes"],
    ["up.deconv", conv("up.deconv", [4, 4, 3, 3]), "transposed"],
    ["half", [["half.weight", tensorOf([4, 4, 3, 3], "float16", () => 1)]], "float16"],
    [
      "wide",
      [...conv("wide", [4, 8, 3, 3]), ["wide.bias", normal(rng, [8], "float32")]],
      "transposed",
    ],
  ] as [string, [string, LazyTensor][], string][])("%s", async (name, tensors, reason) => {
    const plan = planCheckpointInsertion(await checkpoint(new Map(tensors)));
    expect(plan.insertions).toEqual([]);
    expect(plan.leftAlone).toEqual([{ name, reason: expect.stringContaining(reason) }]);
  });

  test("branches of blocks that are there already", async () => {
    const file = await checkpoint(new Map(conv("a", [8, 8, 3, 3])));
    const inserted = await written(file, planCheckpointInsertion(file));
    const again = planCheckpointInsertion({
      ...inserted,
      reading: { ...inserted.reading, family: "repvgg" },
    });
    expect(again.insertions).toEqual([]);
    expect(again.leftAlone[0]!.reason).toContain("already");
  });
});

test("identity branches where input and output channels agree and there is no stride", async () => {
  const file = await checkpoint(
    new Map([
      ...conv("a", [8, 3, 3, 3]),
      ...conv("b", [8, 8, 3, 3]),
      ...conv("c", [8, 8, 3, 3]),
      ...conv("d", [8, 1, 3, 3]),
      ...conv("e", [8, 4, 3, 3]),
      ...conv("f", [8, 4, 3, 3]),
    ]),
  );
  const plan = planCheckpointInsertion(file, { strided: "c", groups: "e=2" });
  const withIdentity = plan.tensors
    .filter(({ name }) => name.endsWith(".rbr_identity.weight"))
    .map(({ name }) => name[0]);
  expect(withIdentity).toEqual(["b", "d", "e"]);
  const assumed = (word: string) => plan.assumptions.find(({ text }) => text.includes(word))?.convs;
  expect(assumed("--strided")).toEqual(["b", "d", "e"]);
  expect(assumed("depthwise")).toEqual(["d"]);
  expect(assumed("NAME=2")).toEqual(["f"]);
  expect((await certify(file, plan)).verdict.word).toBe("EXACT-FOLD");
});

test.each(["repvgg", "mobileone", "acnet", "dbb"] as const)(
  "%s: a dead channel, a batch norm without parameters and another epsilon keep the function",
  async (block) => {
    const [weight] = bn("c1", 8);
    const values = await readFloat64(weight![1]);
    const gamma = tensorOf([8], "float32", () => values.at(-1)!);
    const dead = { ...gamma, read: async () => new Uint8Array(32) };
    const file = await checkpoint(
      new Map([
        ...conv("c.0", [8, 8, 3, 3], true),
        ...bn("c.1", 8).slice(1),
        ...conv("d.0", [8, 8, 5, 5], true),
        ...bn("d.1", 8),
        ["d.1.weight", dead],
        ...conv("e.0", [6, 8, 7, 7]),
        ...bn("e.1", 6),
      ]),
    );
    const read = { ...file, reading: { ...file.reading, epsilon: 1e-3 } };
    const plan = planCheckpointInsertion(read, { block, branches: 2 });
    expect(plan.insertions).toHaveLength(3);
    const { verdict, weights } = await certify(read, plan);
    expect(verdict.word).toBe("EXACT-FOLD");
    // The float64 reference's own error, see verify/weights.ts.
    expect(weights.maxOmega).toBeLessThanOrEqual(1 + 2 ** -22);
    const moved = plan.tensors.map((one) =>
      one.name === `c.0.${denseKey(block)}`
        ? { ...one, tensor: scaledFirst(one.tensor, 1.001) }
        : one,
    );
    expect((await certify(read, { ...plan, tensors: moved })).verdict.word).toBe("DIFFERENT");
  },
);

function denseKey(block: string): string {
  const keys: Record<string, string> = {
    repvgg: "rbr_dense.conv.weight",
    mobileone: "rbr_conv.0.conv.weight",
    acnet: "square_conv.weight",
    dbb: "dbb_origin.conv.weight",
  };
  return keys[block]!;
}

/** The tensor with its first number multiplied. */
function scaledFirst(tensor: LazyTensor, factor: number): LazyTensor {
  return {
    ...tensor,
    read: async (start = 0, end) => {
      const bytes = new Uint8Array(await tensor.read(start, end));
      const values = new Float32Array(bytes.buffer);
      if (start === 0) values[0]! *= factor;
      return bytes;
    },
  };
}

test("fused RepVGG blocks become training-form blocks again, which the net's own builder takes", async () => {
  const arch = repVggArch("RepVGG-A0", { classes: 3 });
  const small = { ...arch, stem: 8, stageWidths: [8, 12, 16, 24], stageBlocks: [1, 2, 1, 1] };
  const file = await checkpoint(createRepVgg(small, "deploy", { seed: 4 }).tensors);
  // The first block of the first stage has a stride and equal widths, which no key tells.
  const plan = planCheckpointInsertion(file, { strided: "stage1.0.*" });
  const inserted = await written(file, plan);
  const inferred = inferRepVgg(inserted.state);
  expect(inferred.form).toBe("training");
  expect(inferred.arch.stageWidths).toEqual(small.stageWidths);
  expect((await certify(file, plan)).verdict.word).toBe("EXACT-FOLD");
});

test("fresh blocks have the same keys and other numbers, and promise nothing", async () => {
  const file = await checkpoint(new Map([...conv("a.0", [8, 8, 3, 3]), ...bn("a.1", 8)]));
  const kept = planCheckpointInsertion(file);
  for (const [fresh, gamma, beta] of [
    ["gamma1", 1, 0],
    ["gamma001", Math.fround(0.01), Math.fround(0.01)],
  ] as const) {
    const plan = planCheckpointInsertion(file, { fresh });
    expect(plan.original).toBeUndefined();
    const names = (one: Plan): string[] => one.tensors.map(({ name }) => name);
    expect(names(plan)).toEqual(names(kept));
    const at = (name: string): LazyTensor => plan.tensors.find((one) => one.name === name)!.tensor;
    expect([...(await readFloat64(at("a.0.rbr_1x1.bn.weight")))]).toEqual(Array(8).fill(gamma));
    expect([...(await readFloat64(at("a.0.rbr_dense.bn.bias")))]).toEqual(Array(8).fill(beta));
    // Kaiming over 8 outputs × 9 taps: standard deviation √(2/72); 576 numbers tell it within 15 % (5 σ of it).
    const dense = await readFloat64(at("a.0.rbr_dense.conv.weight"));
    const deviation = Math.sqrt(dense.reduce((sum, w) => sum + w * w, 0) / dense.length);
    expect(Math.abs(deviation / Math.sqrt(2 / 72) - 1)).toBeLessThan(0.15);
  }
});

const folder = dataFolder();
const cases = folder
  ? readdirSync(join(folder, "fixtures")).filter((name) => name.startsWith("zcls-insert-"))
  : [];

if (!folder) test("not run: keys as ZCls inserts them, because there is no data folder", () => {});

async function opened<T>(path: string, use: (file: CheckpointFile) => Promise<T>): Promise<T> {
  const source = await openFile(path);
  try {
    const file = await openModelFile(source);
    if (file.kind !== "checkpoint") throw new Error("not a checkpoint");
    return await use(file);
  } finally {
    await source.close();
  }
}

describe.each(cases)("%s", (name) => {
  const path = (file: string): string => join(folder!, "fixtures", name, file);
  const block = name.endsWith("acb") ? "acnet" : name.endsWith("dbb") ? "dbb" : "repvgg";
  // The convolutions' groups and strides are in the net's code, not in its checkpoint.
  const groups = name.includes("vgg6") ? "0.3.0,0.4.0,0.6.0,0.7.0=2" : "0.0=8";

  test("has the keys, shapes and types that ZCls gives, and keeps the function", async () => {
    const shapes = (tensors: Iterable<readonly [string, LazyTensor]>): string[] =>
      [...tensors].map(([key, { shape, dtype }]) => `${key} ${dtype} [${shape}]`).sort();
    const expected = await opened(path("train.pth"), async ({ state }) => shapes(state.tensors));
    await opened(path("before.pth"), async (file) => {
      const plan = planCheckpointInsertion(file, { block, groups });
      expect(shapes(plan.tensors.map((one) => [one.name, one.tensor]))).toEqual(expected);
      expect((await certify(file, plan)).verdict.word).toBe("EXACT-FOLD");
      const fused = await planConversion(await written(file, plan), "pytorch");
      const deploy = await opened(path("deploy.pth"), async ({ state }) => shapes(state.tensors));
      if (fused.kind !== "checkpoint") throw new Error("not a checkpoint");
      expect(shapes(fused.plan.tensors.map((one) => [one.name, one.tensor]))).toEqual(deploy);
    });
  });
});

if (folder) {
  test("a published ResNet-20 and a published detector keep their functions", async () => {
    for (const [file, blocks] of [
      ["akamaster+pytorch_resnet_cifar10/resnet20-12fca82f.th", 19],
      ["Linzaer+Ultra-Light-Fast-Generic-Face-Detector-1MB/version-slim-320.pth", 22],
    ] as const) {
      await opened(join(folder, "real", file), async (opened_) => {
        const plan = planCheckpointInsertion(opened_);
        expect(plan.leftAlone).toEqual([]);
        expect(plan.insertions).toHaveLength(blocks);
        expect((await certify(opened_, plan)).verdict.word).toBe("EXACT-FOLD");
      });
    }
  });
}
