import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LazyTensor, ModuleRecord, StateDict } from "../../core/tensor.ts";
import { createRepVgg } from "./create-repvgg.ts";
import { inferRepVgg } from "./infer-repvgg.ts";
import { type RepVggArch, repVggBlocks, repVggStages } from "./repvgg-arch.ts";
import { nameRepVgg, REPVGG_VARIANTS, repVggArch } from "./repvgg-variants.ts";

const TINY: RepVggArch = {
  layout: "repvgg",
  inputChannels: 1,
  stem: 8,
  stageBlocks: [1, 2, 2, 1],
  stageWidths: [8, 8, 12, 16],
  groups: [1, 1, 2, 1, 4, 1, 1],
  classes: 5,
  se: "none",
  auxHeads: false,
};

function state(arch: RepVggArch, form: "training" | "deploy"): StateDict {
  return createRepVgg(arch, form, { seed: 1 });
}

/** The state with keys removed (`undefined`) or replaced by a tensor of another shape or dtype. */
function edited(
  base: StateDict,
  changes: Readonly<Record<string, Partial<LazyTensor> | undefined>>,
): StateDict {
  const tensors = new Map(base.tensors);
  for (const [key, change] of Object.entries(changes)) {
    const old: LazyTensor = tensors.get(key) ?? {
      dtype: "float32",
      shape: [1],
      read: async () => new Uint8Array(4),
    };
    if (change === undefined) tensors.delete(key);
    else tensors.set(key, { ...old, ...change });
  }
  return { tensors, modules: base.modules };
}

describe("round trip", () => {
  test.each(REPVGG_VARIANTS.map((row) => row.name))("%s is recognised in both forms", (name) => {
    const arch = repVggArch(name, { classes: 7 });
    const training = inferRepVgg(state(arch, "training"));
    expect(training).toMatchObject({ arch, form: "training", surplus: [] });
    const deploy = inferRepVgg(state(arch, "deploy"));
    expect(deploy).toMatchObject({ arch: { ...arch, auxHeads: false }, form: "deploy" });
  });

  test("1 input channel, [4, 6, 16, 1] blocks, 372 classes needs no flags", () => {
    const arch: RepVggArch = {
      ...TINY,
      stem: 16,
      stageBlocks: [4, 6, 16, 1],
      stageWidths: [16, 32, 64, 256],
      groups: Array.from({ length: 28 }, () => 1),
      classes: 372,
    };
    const inferred = inferRepVgg(state(arch, "training"));
    expect(inferred.arch).toEqual(arch);
    expect(inferred.arch.name).toBeUndefined();
  });

  test("random custom nets, either form, keys in any order", () => {
    const seed = 20260101;
    fc.assert(
      fc.property(
        customArch(),
        fc.constantFrom("training", "deploy"),
        fc.boolean(),
        (arch, form, reverse) => {
          const whole = state(arch, form as "training" | "deploy");
          const entries = [...whole.tensors];
          const tensors = new Map(reverse ? entries.reverse() : entries);
          const inferred = inferRepVgg({ tensors, modules: new Map() });
          expect(inferred.form).toBe(form);
          const expected = form === "deploy" ? { ...arch, auxHeads: false } : arch;
          // The SE divisor itself is not in the file when several give the same bottlenecks; the bottlenecks are.
          const { seReduction: _, ...found } = inferred.arch;
          const { seReduction: __, ...wanted } = nameRepVgg(expected);
          expect(found).toEqual(wanted);
          expect(repVggBlocks(inferred.arch)).toEqual(repVggBlocks(expected));
        },
      ),
      { seed, numRuns: 60 },
    );
  });
});

/** Nets with widths that are multiples of 8, groups 1, 2, 4 or 8 anywhere but in stage0, any SE. */
function customArch(): fc.Arbitrary<RepVggArch> {
  const width = fc.integer({ min: 1, max: 8 }).map((n) => 8 * n);
  return fc
    .record({
      layout: fc.constantFrom("repvgg" as const, "repvggplus" as const),
      inputChannels: fc.integer({ min: 1, max: 5 }),
      stem: width,
      blocks: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 5, maxLength: 5 }),
      widths: fc.array(width, { minLength: 5, maxLength: 5 }),
      groups: fc.array(fc.constantFrom(1, 2, 4, 8), { minLength: 20, maxLength: 20 }),
      classes: fc.integer({ min: 1, max: 20 }),
      se: fc.constantFrom("none" as const, "before-relu" as const, "after-relu" as const),
      seReduction: fc.integer({ min: 1, max: 8 }),
      auxHeads: fc.boolean(),
    })
    .map(({ blocks, widths, groups, se, seReduction, auxHeads, ...rest }) => {
      const stages = repVggStages(rest.layout).length;
      const stageBlocks = blocks.slice(0, stages);
      const count = stageBlocks.reduce((sum, n) => sum + n, 0);
      return {
        ...rest,
        stageBlocks,
        stageWidths: widths.slice(0, stages),
        groups: [1, ...groups.slice(0, count)],
        se,
        ...(se === "none" ? {} : { seReduction }),
        auxHeads: auxHeads && rest.layout === "repvggplus",
      };
    });
}

describe("forms", () => {
  const training = state(TINY, "training");
  const fusedStem = {
    "stage0.rbr_reparam.weight": { shape: [8, 1, 3, 3] },
    "stage0.rbr_reparam.bias": { shape: [8] },
  };

  test("a stale fused kernel beside branches is mixed, and the block says both", () => {
    const inferred = inferRepVgg(edited(training, fusedStem));
    expect(inferred.form).toBe("mixed");
    expect(inferred.blocks[0]).toEqual({ prefix: "stage0", form: "both" });
    expect(inferred.blocks[1]).toEqual({ prefix: "stage1.0", form: "training" });
  });

  test("a half-converted net is mixed", () => {
    const branches = [...training.tensors.keys()].filter((key) => key.startsWith("stage0."));
    const removed = Object.fromEntries(branches.map((key) => [key, undefined]));
    const inferred = inferRepVgg(edited(training, { ...removed, ...fusedStem }));
    expect(inferred.form).toBe("mixed");
    expect(inferred.blocks.map((block) => block.form).slice(0, 2)).toEqual(["deploy", "training"]);
  });

  test("num_batches_tracked may be absent", () => {
    const counters = [...training.tensors.keys()].filter((key) => key.endsWith("_tracked"));
    const removed = Object.fromEntries(counters.map((key) => [key, undefined]));
    expect(inferRepVgg(edited(training, removed)).arch).toEqual(TINY);
  });

  test("surplus keys are listed when allowed", () => {
    const inferred = inferRepVgg(edited(training, { "criterion.weight": {} }), {
      allowSurplus: true,
    });
    expect(inferred.surplus).toEqual(["criterion.weight"]);
  });
});

describe("errors name the key", () => {
  const training = state(TINY, "training");
  const dense = "stage2.1.rbr_dense.conv.weight";

  test.each<[string, Record<string, Partial<LazyTensor> | undefined>, string]>([
    [
      "no net at all",
      { "stage0.rbr_dense.conv.weight": undefined },
      "stage0.rbr_dense.conv.weight: missing",
    ],
    [
      "missing BatchNorm tensor",
      { "stage2.1.rbr_1x1.bn.running_var": undefined },
      "stage2.1.rbr_1x1.bn.running_var: missing",
    ],
    [
      "missing identity",
      { "stage2.1.rbr_identity.bias": undefined },
      "stage2.1.rbr_identity.bias: missing",
    ],
    ["missing head", { "linear.weight": undefined }, "linear.weight: missing"],
    ["missing head bias", { "linear.bias": undefined }, "linear.bias: missing"],
    ["surplus key", { "stage1.0.extra": {} }, "stage1.0.extra: surplus"],
    [
      "identity where the stride is 2",
      { "stage1.0.rbr_identity.weight": { shape: [8] } },
      "stage1.0.rbr_identity.weight: surplus, expected no identity branch from 8 to 8 channels with stride 2",
    ],
    [
      "a gap in the block indices",
      { "stage1.2.rbr_dense.conv.weight": {} },
      "stage1.1.rbr_dense.conv.weight: missing",
    ],
    [
      "5×5 kernel",
      { [dense]: { shape: [8, 8, 5, 5] } },
      `${dense}: shape is [8, 8, 5, 5], expected [outC, inC/group, 3, 3]`,
    ],
    ["rank 2 kernel", { [dense]: { shape: [8, 8] } }, `${dense}: shape is [8, 8]`],
    ["empty kernel", { [dense]: { shape: [8, 0, 3, 3] } }, `${dense}: shape is [8, 0, 3, 3]`],
    [
      "no whole group count",
      { [dense]: { shape: [8, 3, 3, 3] } },
      `${dense}: shape is [8, 3, 3, 3], expected [outC, inC/group, 3, 3] with inC = 8`,
    ],
    [
      "a width of its own",
      { [dense]: { shape: [24, 8, 3, 3] } },
      `${dense}: shape is [24, 8, 3, 3], expected [8, 8, 3, 3]`,
    ],
    [
      "head of another width",
      { "linear.weight": { shape: [5, 17] } },
      "linear.weight: shape is [5, 17], expected [5, 16]",
    ],
    [
      "head of rank 1",
      { "linear.weight": { shape: [5] } },
      "linear.weight: shape is [5], expected [classes, 16]",
    ],
    ["integer weights", { [dense]: { dtype: "int8" } }, `${dense}: dtype is int8`],
  ])("%s", (_, changes, message) => {
    expect(() => inferRepVgg(edited(training, changes))).toThrow(`checkpoint: ${message}`);
  });

  test("a whole stage is missing", () => {
    const keys = [...training.tensors.keys()].filter((key) => key.startsWith("stage4."));
    const removed = Object.fromEntries(keys.map((key) => [key, undefined]));
    expect(() => inferRepVgg(edited(training, removed), { where: "a.pth" })).toThrow(
      "a.pth: stage4.0.rbr_dense.conv.weight: missing",
    );
  });

  test("a deploy form is asked for its own keys", () => {
    const deploy = state(TINY, "deploy");
    const key = "stage3.1.rbr_reparam.weight";
    expect(() => inferRepVgg(edited(deploy, { [key]: undefined }))).toThrow(key);
  });

  test("a renamed key: the missing one, and the surplus one as a hint", () => {
    const renamed = edited(training, { "linear.bias": undefined, "linear.b": {} });
    expect(() => inferRepVgg(renamed)).toThrow(/linear\.bias: missing.*the file has linear\.b,/);
  });

  test("SE bottlenecks that no one divisor gives", () => {
    const arch: RepVggArch = { ...TINY, se: "before-relu", seReduction: 4 };
    const key = "stage4.0.se.down.weight";
    expect(() =>
      inferRepVgg(edited(state(arch, "training"), { [key]: { shape: [9, 16, 1, 1] } })),
    ).toThrow(key);
  });

  test("a hostile block index is not looped over", () => {
    const key = "stage1.999999999.rbr_dense.conv.weight";
    expect(() => inferRepVgg(edited(training, { [key]: {} }))).toThrow("stage1.1.rbr");
  });
});

describe("whole pickled modules", () => {
  const base = state(TINY, "training");
  const withModule = (path: string, attributes: ModuleRecord["attributes"]): StateDict => ({
    ...base,
    modules: new Map([[path, { className: "Conv2d", attributes }]]),
  });
  test("attributes that agree pass", () => {
    const attributes = { stride: [2, 2], padding: [1, 1], groups: 1, padding_mode: "zeros" };
    const agreed = withModule("stage1.0.rbr_dense.conv", attributes);
    expect(inferRepVgg(agreed).arch).toEqual(TINY);
  });
  test.each<[ModuleRecord["attributes"], string]>([
    [{ stride: [1, 1] }, "stride is [1,1], expected 2"],
    [{ dilation: [2, 2] }, "dilation is [2,2], expected 1"],
    [{ padding_mode: "reflect" }, 'padding_mode is "reflect", expected zeros'],
  ])("%o is refused", (attributes, message) => {
    const changed = withModule("stage1.0.rbr_dense.conv", attributes);
    expect(() => inferRepVgg(changed)).toThrow(`stage1.0.rbr_dense.conv: ${message}`);
  });
});
