/**
 * @file Every family case of the large test data: recognised, compiled, fused by the engine, and compared with what the
 * origin's own converter made: the same keys, the same shapes, and weights within the float32 roundings of its fuse.
 */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { emission, emittedRows, weightShape } from "../src/algebra/emit.ts";
import { memorySource } from "../src/core/byte-source.ts";
import { readFloat64, type StateDict } from "../src/core/tensor.ts";
import { chooseStateDict, readCheckpoint } from "../src/formats/checkpoint.ts";
import { interpretRegion } from "../src/rewrite/interpret.ts";
import { type BlockGraph, compileBlock } from "../src/zoo/compile-block.ts";
import { type RecognizeOptions, recognize } from "../src/zoo/recognize.ts";
import { askedFamily } from "./asked-families.ts";
import { dataFolder } from "./data-folder.ts";

const folder = dataFolder();
if (folder === undefined) console.log("family-fixtures: not run, no data folder (REPARAM_DATA)");

async function load(path: string, key?: string): Promise<StateDict> {
  const source = memorySource(basename(path), readFileSync(path));
  return chooseStateDict(await readCheckpoint(source), key).state;
}

interface Outcome {
  readonly keys: string[];
  /** Largest distance of an origin's deploy weight from the exact fuse, in float32 roundings. */
  readonly omega: number;
  readonly budget: number;
  readonly assumptions: string[];
}

/** Float32 roundings, 2^-24 of the sum of magnitudes each; denormals get their own floor. */
const UNIT = 2 ** -24;
const FLOOR = 2 ** -149;

async function convert(
  train: StateDict,
  deploy: StateDict,
  options: RecognizeOptions,
): Promise<Outcome> {
  const recognition = recognize(train, options);
  const keys = new Set(recognition.unmatched);
  let omega = 0;
  let budget = 0;
  const assumptions: string[] = [];
  for (const match of recognition.matches) {
    const block: BlockGraph = compileBlock(match, train);
    assumptions.push(...block.assumptions);
    const affine = await interpretRegion(block.graph, "x", "y", match.prefix);
    const made = emission(affine);
    const weight = await emittedRows(affine, made, 0, made.outC, true);
    const bias = await affine.biases();
    const { deployKeys } = match;
    const shape = weightShape(made).slice(0, block.weightRank);
    expect(deploy.tensors.get(deployKeys.weight)?.shape, deployKeys.weight).toEqual(shape);
    for (const [key, exact] of [
      [deployKeys.weight, weight],
      [deployKeys.bias, bias],
    ] as const) {
      keys.add(key);
      const stored = deploy.tensors.get(key);
      expect(stored, key).toBeDefined();
      const values = await readFloat64(stored!);
      expect(values.length, key).toBe(exact.values.length);
      for (let i = 0; i < values.length; i++) {
        const distance = Math.abs(values[i]! - exact.values[i]!);
        const roundings = distance / (UNIT * exact.bounds[i]! + FLOOR);
        omega = Math.max(omega, roundings);
      }
    }
    budget = Math.max(budget, affine.roundings.weight, affine.roundings.bias);
  }
  return { keys: [...keys].sort(), omega, budget, assumptions };
}

describe.runIf(folder !== undefined)("families of the large test data", () => {
  const root = join(folder ?? "", "fixtures");
  const cases =
    folder === undefined
      ? []
      : readdirSync(root).filter((name) => existsSync(join(root, name, "deploy.pth")));

  test.each(cases)("%s", async (name) => {
    const train = await load(join(root, name, "train.pth"));
    const deploy = await load(join(root, name, "deploy.pth"));
    const outcome = await convert(train, deploy, { family: askedFamily(name) });
    expect(outcome.keys).toEqual([...deploy.tensors.keys()].sort());
    expect(outcome.omega).toBeLessThanOrEqual(outcome.budget);
  });

  test.each(cases)("%s: the deploy form is not taken for a training form", async (name) => {
    const deploy = await load(join(root, name, "deploy.pth"));
    const { matches } = recognize(deploy, { family: undefined });
    for (const match of matches) expect(match.form).toBe("deploy");
    const train = recognize(await load(join(root, name, "train.pth")), {
      family: askedFamily(name),
    });
    const distinctive = train.matches.filter((match) => match.block.deploy.distinctive !== false);
    const weights = matches.map((match) => match.deployKeys.weight);
    for (const match of distinctive) expect(weights).toContain(match.deployKeys.weight);
  });

  test("yolonas-qarepvgg: the partial fusion keeps post_bn", async () => {
    const train = await load(join(root, "yolonas-qarepvgg/train.pth"));
    const deploy = await load(join(root, "yolonas-qarepvgg/deploy-partial.pth"));
    const outcome = await convert(train, deploy, { family: "yolo-nas-partial" });
    expect(outcome.keys).toEqual([...deploy.tensors.keys()].sort());
    expect(outcome.omega).toBeLessThanOrEqual(outcome.budget);
  });

  test("yolonas-qarepvgg: the placeholder beside the branches is stale", async () => {
    const { matches } = recognize(await load(join(root, "yolonas-qarepvgg/train.pth")));
    expect(matches.map((match) => match.form)).toEqual(["mixed", "mixed", "mixed"]);
    expect(matches[0]?.deployKeys.stale).toEqual([
      "rep0.rbr_reparam.weight",
      "rep0.rbr_reparam.bias",
    ]);
  });

  test("yolov7-repconv-grouped: the origin's own fuse is wrong, by far more than rounding", async () => {
    const train = await load(join(root, "yolov7-repconv-grouped/train.pth"));
    const wrong = await load(join(root, "yolov7-repconv-grouped/deploy-origin-fuse.pth"));
    const outcome = await convert(train, wrong, {});
    expect(outcome.omega).toBeGreaterThan(1e4 * outcome.budget);
  });

  test("a half-converted file is reported block by block", async () => {
    const { matches } = recognize(await load(join(root, "wrappers/half-converted.pth")));
    expect(matches.length).toBe(7);
    expect(new Set(matches.map((match) => match.form))).toEqual(new Set(["training", "deploy"]));
    expect(new Set(matches.map((match) => match.family.name))).toEqual(new Set(["repvgg"]));
  });

  test.each([
    ["yolov6-repvgg", "RepVGG (epsilon 1e-5"],
    ["qarepvgg-yolov6", "qarepvgg-v2"],
    ["zcls-insert-dbb", "zcls-dbb"],
  ])("%s: without a family, the question is put", async (name, part) => {
    const train = await load(join(root, name, "train.pth"));
    expect(() => recognize(train)).toThrow(part);
  });
});

describe.runIf(folder !== undefined)("families of published files", () => {
  const root = join(folder ?? "", "real");

  test("RVSR: the authors' own deploy file", async () => {
    const at = join(root, "huai-chang+RVSR");
    if (!existsSync(at)) return;
    const train = await load(join(at, "pretrained.ckpt"), "state_dict");
    const deploy = await load(join(at, "RVSR_rep.pth"));
    const stripped: StateDict = {
      tensors: new Map([...train.tensors].map(([key, t]) => [key.replace(/^network\./, ""), t])),
      modules: new Map(),
    };
    const outcome = await convert(stripped, deploy, {});
    expect(outcome.keys).toEqual([...deploy.tensors.keys()].sort());
    // The authors multiply by the identity and convolve in float32 with 32 × 9 terms per weight.
    expect(outcome.omega).toBeLessThanOrEqual(outcome.budget);
  });

  test("RT4KSR: every block of the published training form", async () => {
    const at = join(root, "eduardzamfir+RT4KSR/rt4ksr_x2.pth");
    if (!existsSync(at)) return;
    const train = await load(at, "state_dict");
    const { matches, partFits } = recognize(train);
    expect(matches.map((match) => match.prefix)).toEqual([
      "module.hfb.0",
      "module.body.0.conv1",
      "module.body.1.conv1",
      "module.body.2.conv1",
      "module.body.3.conv1",
      "module.tail.1",
    ]);
    expect(partFits).toEqual([]);
    for (const match of matches) {
      const block = compileBlock(match, train);
      const affine = await interpretRegion(block.graph, "x", "y", match.prefix);
      expect(weightShape(emission(affine))).toEqual([24, 24, 3, 3]);
    }
  });

  test.each([
    "akamaster+pytorch_resnet_cifar10/resnet20-12fca82f.th",
    "ECNUSR+ETDS/ECBSR_M4C16_x2.pth",
    "Amazingren+NTIRE2024_ESR/team38_span_ch28_slim.pth",
    "Barry1749+MobileIE/lolv1_best_slim.pkl",
  ])("%s holds no multi-branch block", async (name) => {
    const path = join(root, name);
    if (!existsSync(path)) return;
    const checkpoint = await readCheckpoint(memorySource(basename(path), readFileSync(path)));
    for (const { state } of checkpoint.candidates) {
      const { matches, partFits } = recognize(state);
      expect(matches).toEqual([]);
      expect(partFits).toEqual([]);
    }
  });
});
