import { describe, expect, test } from "vitest";
import { isReparamError } from "../core/errors.ts";
import { float32Tensor, lazyTensor, type ModuleRecord, type StateDict } from "../core/tensor.ts";
import { compileBlock } from "./compile-block.ts";
import type { FamilyRow } from "./family.ts";
import { MAX_CHANNELS, MAX_KEY_PARTS, MAX_REPEATS } from "./limits.ts";
import { recognize } from "./recognize.ts";

type Shapes = Record<string, readonly number[]>;

function state(
  shapes: Shapes,
  modules: Record<string, ModuleRecord["attributes"]> = {},
): StateDict {
  return {
    tensors: new Map(
      Object.entries(shapes).map(([key, shape]) => [
        key,
        lazyTensor(float32Tensor(shape, new Array(shape.reduce((a, b) => a * b, 1)).fill(0.5))),
      ]),
    ),
    modules: new Map(
      Object.entries(modules).map(([path, attributes]) => [path, { className: "x", attributes }]),
    ),
  };
}

function bn(key: string, channels: number): Shapes {
  return Object.fromEntries(
    ["weight", "bias", "running_mean", "running_var"].map((name) => [`${key}.${name}`, [channels]]),
  );
}

function conv(key: string, out: number, perGroup: number, kernel: number): Shapes {
  return { [`${key}.weight`]: [out, perGroup, kernel, kernel] };
}

function repvgg(prefix: string, out: number, perGroup: number, identity = false): Shapes {
  return {
    ...conv(`${prefix}.rbr_dense.conv`, out, perGroup, 3),
    ...bn(`${prefix}.rbr_dense.bn`, out),
    ...conv(`${prefix}.rbr_1x1.conv`, out, perGroup, 1),
    ...bn(`${prefix}.rbr_1x1.bn`, out),
    ...(identity ? bn(`${prefix}.rbr_identity`, out) : {}),
  };
}

describe("recognize", () => {
  test("names the family by the shape of its prefixes, passes the rest on", () => {
    const found = recognize(
      state({ ...repvgg("stage0", 4, 3), ...repvgg("stage1.0", 4, 4), "linear.weight": [2, 4] }),
    );
    expect(found.matches.map((m) => [m.family.name, m.prefix, m.form, m.keys.length])).toEqual([
      ["repvgg", "stage0", "training", 10],
      ["repvgg", "stage1.0", "training", 10],
    ]);
    expect(found.unmatched).toEqual(["linear.weight"]);
  });

  test("asks where families differ and nothing decides", () => {
    const file = state(repvgg("rep0", 4, 3));
    let caught: unknown;
    try {
      recognize(file);
    } catch (error) {
      caught = error;
    }
    expect(isReparamError(caught, "ambiguous")).toBe(true);
    expect(String(caught)).toContain(
      "rep0: the keys fit RepVGG (epsilon 1e-5) and YOLOv6 RepVGGBlock (epsilon 1e-3)." +
        " Say which with --family repvgg or --family yolov6, or the epsilon with --eps",
    );
    expect(recognize(file, { family: "yolov6" }).matches[0]?.family.name).toBe("yolov6");
  });

  test("says in what they differ, and how to say it of single blocks", () => {
    const block = (prefix: string) => ({
      ...conv(`${prefix}.rbr_dense.conv`, 4, 4, 3),
      ...bn(`${prefix}.rbr_dense.bn`, 4),
      ...conv(`${prefix}.rbr_1x1`, 4, 4, 1),
      ...bn(`${prefix}.bn`, 4),
    });
    expect(() => recognize(state({ ...block("rep0"), ...block("rep1") }))).toThrow(
      "rep0: the keys fit YOLOv6 QARepVGGBlock and YOLOv6 QARepVGGBlockV2 (also adds an average pool of the input)." +
        " Say which with --family qarepvgg or --family qarepvgg-v2, block by block as in --family qarepvgg,rep1=qarepvgg-v2",
    );
  });

  test("names in the deploy file decide between families that would give other names", () => {
    const file = state(repvgg("0.0", 4, 3));
    expect(() => recognize(file)).toThrow("--family");
    const told = recognize(file, { deployKeys: new Set(["0.0.weight", "0.0.bias", "3.weight"]) });
    expect(told.matches[0]?.family.name).toBe("zcls-repvgg");
    expect(told.chosenByDeployKeys).toEqual(["zcls-repvgg"]);
    // Half of the names are no evidence, nor are names that two families with another epsilon share.
    expect(() => recognize(file, { deployKeys: new Set(["0.0.weight"]) })).toThrow("--family");
    const shared = new Set(["0.0.rbr_reparam.weight", "0.0.rbr_reparam.bias"]);
    expect(() => recognize(file, { deployKeys: shared })).toThrow(
      "--family repvgg or --family yolov6",
    );
    // What is asked for counts, whatever the names say.
    const asked = recognize(file, { deployKeys: shared, family: "zcls-repvgg" });
    expect(asked.matches[0]?.family.name).toBe("zcls-repvgg");
    expect(asked.chosenByDeployKeys).toEqual([]);
  });

  test("does not ask where the answer makes no difference: the epsilon is known", () => {
    const file = state(repvgg("rep0", 4, 3));
    expect(recognize(file, { epsilon: 1e-3 }).matches[0]?.family.name).toBe("repvgg");
    const eps = { eps: 1e-3 };
    const pickled = { "rep0.rbr_dense.bn": eps, "rep0.rbr_1x1.bn": eps };
    const { matches } = recognize(state(repvgg("rep0", 4, 3), pickled));
    expect(matches[0]?.alternatives).toContain("yolov6");
    expect(compileBlock(matches[0]!, file, {}).epsilon.from).toBe("default");
    expect(compileBlock(matches[0]!, state(repvgg("rep0", 4, 3), pickled)).epsilon).toEqual({
      value: 1e-3,
      from: "file",
    });
  });

  test("a branch that no row explains is reported, not dropped", () => {
    const file = state({ ...repvgg("stage0", 4, 3), ...conv("stage0.rbr_3x1.conv", 4, 3, 1) });
    const found = recognize(file, { family: "repvgg" });
    expect(found.matches).toEqual([]);
    expect(found.partFits).toMatchObject([
      { family: "repvgg", prefix: "stage0", unexplained: ["stage0.rbr_3x1.conv.weight"] },
    ]);
    expect(found.unmatched.length).toBe(file.tensors.size);
  });

  test("a block with a missing part is reported with what is missing", () => {
    const shapes = repvgg("stage0", 4, 3);
    delete shapes["stage0.rbr_1x1.bn.running_var"];
    const { matches, partFits } = recognize(state(shapes), { family: "repvgg" });
    expect(matches).toEqual([]);
    expect(partFits[0]?.missing).toEqual(["stage0.rbr_1x1.bn.running_var"]);
  });

  test("one net of two families", () => {
    const mobile = (prefix: string) => ({
      ...conv(`${prefix}.branch_conv_list.0.conv`, 4, 4, 1),
      ...bn(`${prefix}.branch_conv_list.0.norm`, 4),
    });
    const { matches } = recognize(state({ ...repvgg("stage1.0", 4, 4), ...mobile("neck.0") }));
    expect(matches.map((match) => [match.family.name, match.prefix])).toEqual([
      ["repvgg", "stage1.0"],
      ["mmpretrain-mobileone", "neck.0"],
    ]);
  });

  test("a plain conv + bn of one project inside another's block stays there", () => {
    const ultralytics = {
      ...conv("model.0.conv1.conv", 4, 4, 3),
      ...bn("model.0.conv1.bn", 4),
      ...conv("model.0.conv2.conv", 4, 4, 1),
      ...bn("model.0.conv2.bn", 4),
      ...bn("model.0.bn", 4),
      ...conv("model.1.conv", 4, 4, 3),
      ...bn("model.1.bn", 4),
    };
    const { matches } = recognize(state({ ...repvgg("backbone.stage1.0", 4, 4), ...ultralytics }));
    expect(matches.map((match) => [match.family.name, match.prefix, match.block.kind])).toEqual([
      ["repvgg", "backbone.stage1.0", "RepVGGBlock"],
      ["ultralytics", "model.0", "RepConv"],
      ["ultralytics", "model.1", "Conv"],
    ]);
  });

  test("fused weights alone are a deploy form, beside branches they are stale", () => {
    const fused = { "stage0.rbr_reparam.weight": [4, 3, 3, 3], "stage0.rbr_reparam.bias": [4] };
    const deploy = recognize(state(fused));
    expect(deploy.matches.map((m) => [m.prefix, m.form])).toEqual([["stage0", "deploy"]]);
    expect(() => compileBlock(deploy.matches[0]!, state(fused))).toThrow("deploy form");
    const mixed = recognize(state({ ...fused, ...repvgg("stage0", 4, 3) })).matches;
    expect(mixed.map((m) => [m.form, m.deployKeys.stale])).toEqual([["mixed", Object.keys(fused)]]);
  });

  test("families per prefix", () => {
    const block = (prefix: string) => ({
      ...conv(`${prefix}.rbr_dense.conv`, 4, 4, 3),
      ...bn(`${prefix}.rbr_dense.bn`, 4),
      ...conv(`${prefix}.rbr_1x1`, 4, 4, 1),
    });
    const file = state({ ...block("rep0"), ...block("rep1") });
    expect(() => recognize(file)).toThrow("qarepvgg-v2");
    const { matches } = recognize(file, { family: "qarepvgg,rep1=qarepvgg-v2" });
    expect(matches.map((match) => match.family.name)).toEqual(["qarepvgg", "qarepvgg-v2"]);
  });

  test("everyday key names alone are not worth a word, unless asked", () => {
    const convNext = state({
      ...conv("stages.0.dwconv", 4, 1, 7),
      "stages.0.norm.weight": [4],
      "stages.0.norm.bias": [4],
    });
    expect(recognize(convNext)).toMatchObject({ matches: [], partFits: [] });
    expect(recognize(convNext, { family: "unireplknet" }).partFits).toHaveLength(1);
  });

  test("an unknown family is a usage error", () => {
    expect(() => recognize(state({}), { family: "repvg" })).toThrow('no family "repvg"');
  });

  test("a recipe goes before the built-in row for the same keys", () => {
    const recipe: FamilyRow = {
      name: "mine",
      title: "mine",
      epsilon: 1e-4,
      blocks: [
        {
          kind: "Mine",
          anchor: "rbr_dense.conv.weight",
          graph: { sequence: [{ conv: "rbr_dense.conv" }, { bn: "rbr_dense.bn" }] },
          deploy: { weight: "conv.weight", bias: "conv.bias" },
          keeps: ["rbr_1x1.**"],
        },
      ],
    };
    const { matches } = recognize(state(repvgg("stage0", 4, 3)), { recipes: [recipe] });
    expect(matches.map((match) => match.family.name)).toEqual(["mine"]);
  });

  test("only below a prefix", () => {
    const file = state({ ...repvgg("a.stage0", 4, 3), ...repvgg("b.stage0", 4, 3) });
    expect(recognize(file, { prefix: "b" }).matches.map((m) => m.prefix)).toEqual(["b.stage0"]);
  });

  test("limits: parts of a key, branches of a block", () => {
    const deep = `${"a.".repeat(MAX_KEY_PARTS)}weight`;
    expect(() => recognize(state({ [deep]: [1] }))).toThrow(`more than ${MAX_KEY_PARTS} parts`);
    const many: Shapes = {};
    for (let n = 0; n <= MAX_REPEATS; n++)
      many[`m.branch_conv_list.${n}.conv.weight`] = [1, 1, 1, 1];
    expect(() => recognize(state(many))).toThrow(`at most ${MAX_REPEATS}`);
  });
});

describe("compileBlock", () => {
  test("works the group count out of the identity branch", () => {
    const file = state(repvgg("stage0", 6, 2, true));
    const block = compileBlock(recognize(file).matches[0]!, file);
    expect([block.group, block.inChannels, block.outChannels]).toEqual([3, 6, 6]);
    expect(block.graph.nodes.filter((node) => node.opType === "Conv")).toHaveLength(2);
    expect(block.assumptions).toEqual([]);
  });

  test("limits: channels of a value", () => {
    const channels = MAX_CHANNELS + 1;
    const file = state({ ...repvgg("stage0", 1, 1), ...bn("stage0.rbr_identity", 1) });
    const huge = {
      dtype: "float32" as const,
      shape: [channels],
      read: async () => new Uint8Array(),
    };
    const hostile = {
      ...file,
      tensors: new Map([
        ...file.tensors,
        ...["weight", "bias", "running_mean", "running_var"].map(
          (name) => [`stage0.rbr_identity.${name}`, huge] as const,
        ),
      ]),
    };
    const { matches } = recognize(hostile);
    expect(() => compileBlock(matches[0]!, hostile)).toThrow(`at most ${MAX_CHANNELS}`);
  });

  test("names the layer where shapes contradict each other", () => {
    const shapes = { ...repvgg("stage0", 6, 2), "stage0.rbr_dense.bn.running_mean": [5] };
    const file = state(shapes);
    const { matches } = recognize(file, { family: "repvgg" });
    expect(() => compileBlock(matches[0]!, file)).toThrow("stage0.rbr_dense.bn");
  });

  test("a module record that disagrees about groups is an error", () => {
    const file = state(repvgg("stage0", 6, 2, true), { "stage0.rbr_dense.conv": { groups: 2 } });
    const { matches } = recognize(file);
    expect(() => compileBlock(matches[0]!, file)).toThrow();
  });

  const bare: Shapes = {
    ...conv("a.rbr_dense.conv", 4, 4, 3),
    ...bn("a.rbr_dense.bn", 4),
    ...conv("a.rbr_1x1", 4, 4, 1),
  };

  test("says that it took a branch without keys, and leaves it out when told or recorded", () => {
    const file = state(bare);
    const match = recognize(file, { family: "qarepvgg" }).matches[0]!;
    const taken = compileBlock(match, file);
    expect(taken.assumptions).toHaveLength(1);
    const left = compileBlock(match, file, { identity: false });
    expect(left.assumptions).toEqual([]);
    expect(left.graph.nodes.length).toBe(taken.graph.nodes.length - 1);
    const strided = state(bare, { "a.rbr_dense.conv": { stride: [2, 2] } });
    const recorded = compileBlock(recognize(strided, { family: "qarepvgg" }).matches[0]!, strided);
    expect(recorded.graph.nodes.length).toBe(left.graph.nodes.length);
  });

  test("an epsilon given by the caller is used where the file has none", () => {
    const file = state(repvgg("stage0", 4, 3));
    const block = compileBlock(recognize(file).matches[0]!, file, { epsilon: 0.25 });
    expect(block.epsilon).toEqual({ value: 0.25, from: "option" });
    for (const node of block.graph.nodes) {
      if (node.opType !== "BatchNormalization") continue;
      expect(node.attributes.get("epsilon")).toEqual({ type: "float", value: 0.25 });
    }
  });
});
