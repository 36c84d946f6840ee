import { describe, expect, test } from "vitest";
import { repVggBlocks } from "./repvgg-arch.ts";
import { countParameters, repVggKeys } from "./repvgg-keys.ts";
import { REPVGG_VARIANTS, repVggArch } from "./repvgg-variants.ts";

/**
 * Published table: blocks, parameters in millions (training, deploy), state-dict keys (training, deploy), counted on the
 * origin's own models.
 */
const PUBLISHED: readonly (readonly [string, number, number, number, number, number])[] = [
  ["A0", 22, 9.11, 8.31, 351, 46],
  ["A1", 22, 14.09, 12.79, 351, 46],
  ["A2", 22, 28.21, 25.5, 351, 46],
  ["B0", 28, 15.82, 14.34, 453, 58],
  ["B1", 28, 57.42, 51.83, 453, 58],
  ["B1g2", 28, 45.78, 41.36, 453, 58],
  ["B1g4", 28, 39.97, 36.13, 453, 58],
  ["B2", 28, 89.02, 80.32, 453, 58],
  ["B2g2", 28, 70.85, 63.96, 453, 58],
  ["B2g4", 28, 61.76, 55.78, 453, 58],
  ["B3", 28, 123.09, 110.96, 453, 58],
  ["B3g2", 28, 96.91, 87.4, 453, 58],
  ["B3g4", 28, 83.83, 75.63, 453, 58],
  ["D2se", 48, 133.33, 120.39, 985, 290],
];

test.each(PUBLISHED)("RepVGG-%s has the published blocks, parameters and keys", (...row) => {
  const [name, blocks, trainingM, deployM, trainingKeys, deployKeys] = row;
  const arch = repVggArch(name);
  expect(arch.name).toBe(`RepVGG-${name}`);
  expect(repVggBlocks(arch).length).toBe(blocks);
  const training = repVggKeys(arch, "training");
  const deploy = repVggKeys(arch, "deploy");
  expect([training.size, deploy.size]).toEqual([trainingKeys, deployKeys]);
  // The table gives two decimals of a million.
  expect((countParameters(training) / 1e6).toFixed(2)).toBe(trainingM.toFixed(2));
  expect((countParameters(deploy) / 1e6).toFixed(2)).toBe(deployM.toFixed(2));
});

test("the table covers every plain variant, and RepVGGplus is the only other", () => {
  const names = REPVGG_VARIANTS.map((row) => row.name.replace("RepVGG-", ""));
  expect(names).toEqual([...PUBLISHED.map(([name]) => name), "RepVGGplus-L2pse"]);
});

test("RepVGGplus-L2pse: D2's blocks, third stage in halves, SE after the ReLU, three auxiliary heads", () => {
  const arch = repVggArch("RepVGGplus-L2pse");
  const blocks = repVggBlocks(arch);
  expect(blocks.length).toBe(48); // 1 + 8 + 14 + 24 + 1
  expect(arch.stageBlocks).toEqual([8, 14, 12, 12, 1]);
  expect(arch.stageWidths).toEqual([160, 320, 640, 640, 2560]);
  const second = blocks.find((block) => block.prefix === "stage3_second.blocks.0");
  expect(second).toMatchObject({ stride: 1, identity: true, inC: 640, outC: 640 });
  const training = repVggKeys(arch, "training");
  const deploy = repVggKeys(arch, "deploy");
  // 48 blocks: SE 4 + two branches 2·6; identity 5 in the 48 − 5 blocks of stride 1; head 2; three heads of 1 + 5 + 2.
  expect(training.size).toBe(48 * 16 + 43 * 5 + 2 + 3 * 8);
  expect(deploy.size).toBe(48 * 6 + 2);
  expect(training.get("stage4.blocks.0.post_se.down.weight")?.shape).toEqual([640, 2560, 1, 1]);
  expect(training.has("stage3_first_aux.3.weight")).toBe(true);
  expect(deploy.has("stage3_first_aux.3.weight")).toBe(false);
});

test("groups stand at every second block up to 26", () => {
  const arch = repVggArch("B1g4");
  const grouped = arch.groups.flatMap((group, block) => (group === 4 ? [block] : []));
  expect(grouped).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26]);
  expect(arch.groups.length).toBe(28);
});

test("keys come in PyTorch's order: SE, identity, dense, 1×1", () => {
  const keys = [...repVggKeys(repVggArch("D2se"), "training").keys()];
  const block = keys.filter((key) => key.startsWith("stage1.1."));
  const order = [...new Set(block.map((key) => key.split(".").slice(2, 4).join(".")))];
  expect(order).toEqual([
    "se.down",
    "se.up",
    "rbr_identity.weight",
    "rbr_identity.bias",
    "rbr_identity.running_mean",
    "rbr_identity.running_var",
    "rbr_identity.num_batches_tracked",
    "rbr_dense.conv",
    "rbr_dense.bn",
    "rbr_1x1.conv",
    "rbr_1x1.bn",
  ]);
});

describe("names", () => {
  test.each(["RepVGG-A0", "repvgg_a0", "A0", "a0", "REPVGG-a0"])("%s is RepVGG-A0", (name) => {
    expect(repVggArch(name).name).toBe("RepVGG-A0");
  });
  test("an unknown name lists close ones", () => {
    expect(() => repVggArch("RepVGG-B1g3")).toThrow(/"RepVGG-B1g3".*RepVGG-B1g2, RepVGG-B1g4/);
    expect(() => repVggArch("C0")).toThrow(/Did you mean RepVGG-A0, RepVGG-B0/);
    expect(() => repVggArch("")).toThrow(/no published RepVGG/);
  });
  test("overrides change head and stem only", () => {
    const keys = repVggKeys(repVggArch("B0", { classes: 372, inputChannels: 1 }), "deploy");
    expect(keys.get("linear.weight")?.shape).toEqual([372, 1280]);
    expect(keys.get("stage0.rbr_reparam.weight")?.shape).toEqual([64, 1, 3, 3]);
  });
  test.each([0, -1, 1.5, Number.NaN])("refuses %s classes", (classes) => {
    expect(() => repVggArch("A0", { classes })).toThrow(/repVggArch: classes/);
  });
});
