/**
 * @file Insertion in float32, through files and onnxruntime: certificate A of the inserted model against the original,
 * for random nets and the real models of the optional data folder; a moved number is noticed.
 */

import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type OnnxFile, openModelFile } from "../src/convert/open.ts";
import { memorySource } from "../src/core/byte-source.ts";
import { decodeFloat64, encodeFloat64 } from "../src/core/dtype.ts";
import { createRng } from "../src/core/rng.ts";
import { float32Tensor, readFloat64, type Tensor } from "../src/core/tensor.ts";
import { modelToBytes } from "../src/formats/onnx/write-model.ts";
import { openFile } from "../src/host/file-source.ts";
import { loadNodeRuntime } from "../src/host/ort-node.ts";
import { createGraphBuilder } from "../src/ir/builder.ts";
import { graphInputs, isOp, type Model } from "../src/ir/graph.ts";
import { applyPlan } from "../src/rewrite/apply.ts";
import { applyInsertion } from "../src/rewrite/insert/apply-insertion.ts";
import { BLOCK_KINDS } from "../src/rewrite/insert/blocks.ts";
import { calibrateInsertion } from "../src/rewrite/insert/calibrate.ts";
import { planInsertion } from "../src/rewrite/insert/plan-insertion.ts";
import { planReparam } from "../src/rewrite/plan.ts";
import { channelMoments } from "../src/runtime/channel-statistics.ts";
import { generateInputs } from "../src/verify/inputs.ts";
import { type Verification, verify } from "../src/verify/verify.ts";
import { dataFolder } from "./data-folder.ts";
import { normal, pick, randomConvNet, tensorOf } from "./support/random-conv-net.ts";

/** What the float64 reference itself may be off by, in roundings (see verify/weights.ts): k·2⁻²⁹ with k < 100. */
const ONE_ROUNDING = 1 + 100 * 2 ** -29;

function onnxFile(name: string, model: Model): OnnxFile {
  const reading = { key: undefined, epsilon: undefined, family: undefined, recipes: undefined };
  return { kind: "onnx", name, model, reading };
}

/** Written, read back, and compared with the original by its weights. */
async function certify(original: Model, inserted: Model): Promise<Verification> {
  const bytes = await modelToBytes(inserted);
  const again = await openModelFile(memorySource("inserted.onnx", bytes));
  return verify(again, onnxFile("original.onnx", original));
}

test("the original lies within one rounding of what the written blocks fuse to", async () => {
  let blocks = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 - 1 }), async (seed) => {
      const { model } = randomConvNet(seed, "float32");
      const block = pick(createRng(seed), BLOCK_KINDS);
      const plan = await planInsertion(model, { block, seed, branches: 3 });
      const { model: inserted, modified } = applyInsertion(model, plan);
      if (!modified) return;
      const { weights, verdict } = await certify(model, inserted);
      expect(weights.blocks.length).toBeGreaterThanOrEqual(plan.insertions.length);
      expect(weights.maxOmega).toBeLessThanOrEqual(ONE_ROUNDING);
      expect(verdict.word).toBe("EXACT-FOLD");
      blocks += plan.insertions.length;
    }),
    { numRuns: 60 },
  );
  expect(blocks).toBeGreaterThan(60);
});

test("insert, then convert: within the roundings of an ordinary fuse of the original, weight by weight", async () => {
  let nets = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 - 1 }), async (seed) => {
      const { model } = randomConvNet(seed, "float32", { batchNorm: true });
      // A diverse branch block's averages are ninths: it comes back within one rounding of its own terms, which may be
      // more than k roundings of the original's (the test before this one holds it to that).
      const block = pick(
        createRng(seed),
        BLOCK_KINDS.filter((kind) => kind !== "dbb"),
      );
      const { model: inserted, modified } = applyInsertion(
        model,
        await planInsertion(model, { block, seed }),
      );
      if (!modified) return;
      const again = applyPlan(inserted, await planReparam(inserted)).model;
      // The original is the training form here: convolution and batch norm, of which k = 5 roundings are allowed.
      const { verdict } = await certify(again, model);
      expect(["EXACT-FOLD", "EQUAL-UP-TO-ROUNDING"]).toContain(verdict.word);
      nets++;
    }),
    { numRuns: 40 },
  );
  expect(nets).toBeGreaterThan(20);
});

test.each(["repvgg", "mobileone", "acnet"] as const)(
  "%s: a convolution without batch norm comes back bit by bit",
  async (block) => {
    const g = createGraphBuilder();
    const rng = createRng(31);
    const x = g.input("x", "float32", ["n", 8, "h", "w"]);
    const weight = tensorOf([8, 8, 3, 3], "float32", () =>
      // Every size, zero and the smallest numbers among them.
      rng.next() < 0.1 ? 0 : rng.normal() * 10 ** rng.uniform(-44, 3),
    );
    const inputs = [
      x,
      g.initializer("c.weight", weight),
      g.initializer("c.bias", normal(rng, [8], "float32")),
    ];
    g.output(g.node("Conv", inputs, { pads: [1, 1, 1, 1] }, "c"), "float32", undefined);
    const model = g.build();
    const { model: inserted } = applyInsertion(model, await planInsertion(model, { block }));
    const { regions } = applyPlan(inserted, await planReparam(inserted));
    expect(regions).toHaveLength(1);
    const [{ kernel }] = regions as [(typeof regions)[0]];
    const original = model.graph.initializers;
    expect(await readFloat64(kernel.weight)).toEqual(await readFloat64(weight));
    expect(await readFloat64(kernel.bias)).toEqual(await readFloat64(original.get("c.bias")!));
    // Not because the dense branch had kept everything.
    const dense = [...inserted.graph.initializers].find(([, { shape }]) => shape.length === 4)!;
    expect(await readFloat64(dense[1])).not.toEqual(await readFloat64(weight));
  },
);

/** The model with one number of an initializer multiplied. */
async function mutated(model: Model, name: string, at: number, factor: number): Promise<Model> {
  const tensor = model.graph.initializers.get(name)!;
  const values = decodeFloat64(await tensor.read(), tensor.dtype);
  values[at]! *= factor;
  const bytes = encodeFloat64(values, "float32");
  const initializers = new Map(model.graph.initializers);
  initializers.set(name, { ...tensor, read: async () => bytes });
  return { ...model, graph: { ...model.graph, initializers } };
}

describe("one number moved in an inserted model", () => {
  test.each([
    "rbr_dense.conv.weight",
    "rbr_1x1.conv.weight",
    "rbr_1x1.bn.weight",
    "rbr_dense.bn.bias",
  ])("%s is noticed", async (key) => {
    const model = plainNet();
    const { model: inserted } = applyInsertion(model, await planInsertion(model));
    expect((await certify(model, inserted)).verdict.word).toBe("EXACT-FOLD");
    // 1 % of one number: 10⁵ float32 roundings, of which a branch at a tenth of the size still shows 10⁴.
    const moved = await mutated(inserted, `a.${key}`, 1, 1.01);
    expect((await certify(model, moved)).verdict.word).toBe("DIFFERENT");
  });
});

/** Two 3×3 convolutions with batch norms, then global pooling. */
function plainNet(): Model {
  const rng = createRng(11);
  const g = createGraphBuilder({ opset: 17 });
  let x = g.input("x", "float32", ["n", 3, 16, 16]);
  for (const [name, inC, outC] of [
    ["a", 3, 8],
    ["b", 8, 8],
  ] as const) {
    const weight = g.initializer(`${name}.weight`, normal(rng, [outC, inC, 3, 3], "float32"));
    const y = g.node("Conv", [x, weight], { pads: [1, 1, 1, 1] }, name);
    const parameters = ["weight", "bias", "running_mean", "running_var"].map((key) =>
      g.initializer(
        `${name}_bn.${key}`,
        key === "running_var"
          ? tensorOf([outC], "float32", () => rng.uniform(5, 30))
          : normal(rng, [outC], "float32"),
      ),
    );
    x = g.node("Relu", [g.node("BatchNormalization", [y, ...parameters])]);
  }
  g.output(g.node("GlobalAveragePool", [x]), "float32", undefined);
  return g.build();
}

test("calibration gives every batch norm the statistics of what it reads, and keeps the function", async () => {
  const model = plainNet();
  const runtime = await loadNodeRuntime();
  const rng = createRng(5);
  const batches = Array.from({ length: 3 }, (_, i) => {
    const shape = [2 + i, 3, 16, 16];
    const values = Array.from({ length: (2 + i) * 3 * 256 }, () => 0.5 + rng.normal());
    return new Map<string, Tensor>([["x", float32Tensor(shape, values)]]);
  });
  for (const block of BLOCK_KINDS) {
    const plan = await calibrateInsertion(
      model,
      await planInsertion(model, { block }),
      (inserted, values) => channelMoments(inserted, runtime, values, batches),
    );
    const { model: inserted, insertions } = applyInsertion(model, plan);
    expect((await certify(model, inserted)).verdict.word).toBe("EXACT-FOLD");
    // Observed again, in the calibrated model: what the batch norms hold is what they see.
    const values = insertions.flatMap((one) => [...one.batchNormInputs.values()]);
    const seen = await channelMoments(
      inserted,
      runtime,
      values.map((name) => ({ name, rank: 4 })),
      batches,
    );
    for (const node of inserted.graph.nodes.filter((one) => isOp(one, "BatchNormalization"))) {
      const [mean, variance] = await Promise.all(
        node.inputs.slice(3).map(async (name) => {
          const tensor = inserted.graph.initializers.get(name)!;
          return decodeFloat64(await tensor.read(), tensor.dtype);
        }),
      );
      const { mean: m, variance: v } = seen.get(node.inputs[0]!)!;
      for (const [c, value] of v.entries()) {
        // Float32 sums over 2304 positions and the roundings of all layers before: far below 10⁻⁴.
        expect(Math.abs(variance![c]! - value)).toBeLessThanOrEqual(1e-4 * value + 1e-12);
        expect(Math.abs(mean![c]! - m[c]!)).toBeLessThanOrEqual(1e-4 * Math.sqrt(value) + 1e-6);
      }
    }
  }
});

test.each([
  [7, 2],
  [9, 2],
  [13, 1],
  [13, 3],
  [18, 2],
  [22, 2],
])(
  "opset %s, %s spatial axes: onnxruntime computes the same, crops included",
  async (opset, rank) => {
    const g = createGraphBuilder({ opset });
    const rng = createRng(opset + rank);
    const spatial = Array<number>(rank).fill(9);
    const x = g.input("x", "float32", [2, 4, ...spatial]);
    const ones = Array<number>(rank).fill(1);
    const weight = g.initializer("c.weight", normal(rng, [4, 4, ...ones.map(() => 3)], "float32"));
    // No padding: pointwise, identity and cross branches read a cropped input.
    const valid = g.node("Conv", [x, weight], {}, "c");
    const second = g.initializer("d.weight", normal(rng, [6, 2, ...ones.map(() => 5)], "float32"));
    const pads = [...ones, ...ones.map(() => 3)];
    g.output(g.node("Conv", [valid, second], { group: 2, pads }, "d"), "float32", undefined);
    const model = g.build();
    for (const block of BLOCK_KINDS) {
      const plan = await planInsertion(model, { block });
      if (block === "acnet" && rank !== 2) {
        expect(plan.leftAlone.map((one) => one.reason).join()).toContain("a cross needs 2");
        continue;
      }
      expect(plan.leftAlone).toEqual([]);
      expect(plan.insertions).toHaveLength(2);
      const inserted = applyInsertion(model, plan).model;
      const bytes = await modelToBytes(inserted);
      const again = await openModelFile(memorySource("inserted.onnx", bytes));
      const original = onnxFile("original.onnx", model);
      const weights = await verify(again, original);
      expect(weights.verdict.word).toBe("EXACT-FOLD");
      const runtime = await loadNodeRuntime();
      const input = generateInputs(model).get("x")!;
      const outputs = await Promise.all(
        [model, inserted].map(async (one) => {
          const session = await runtime.createSession(one);
          const [result] = (await session.run(new Map([["x", input]]))).values();
          await session.release();
          return decodeFloat64(result!.bytes, result!.dtype);
        }),
      );
      const [expected, found] = outputs as [Float64Array, Float64Array];
      const norm = (at: (i: number) => number): number =>
        Math.sqrt(expected.reduce((sum, _, i) => sum + at(i) ** 2, 0));
      const error = norm((i) => found[i]! - expected[i]!) / norm((i) => expected[i]!);
      // Two layers of at most 4·27 and 2·125 products, each summed in float32 with errors of √n·2⁻²⁴, some branches each.
      expect(error).toBeLessThan(8 * 2 * Math.sqrt(250) * 2 ** -24);
    }
  },
);

const folder = dataFolder();
const real = folder
  ? readdirSync(join(folder, "real"), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".onnx"))
      .map((path) => join(folder, "real", path))
  : [];

if (!folder) test("not run: insertion into real models, because there is no data folder", () => {});

/** Sizes where a model leaves them open. */
function inputShape(path: string, model: Model): number[] {
  if (path.includes("ch_ppocr")) return [1, 3, 48, 192];
  const [input] = graphInputs(model.graph);
  return input!.shape!.map((dim, axis) => (typeof dim === "number" ? dim : axis === 0 ? 1 : 64));
}

describe.each(real.map((path) => [relative(folder!, path), path]))("%s", (_, path) => {
  test.each(BLOCK_KINDS)("takes %s blocks without changing its function", async (block) => {
    const source = await openFile(path);
    try {
      const file = await openModelFile(source);
      if (file.kind !== "onnx") throw new Error("not a model");
      const plan = await planInsertion(file.model, { block, branches: 2 });
      const inserted = applyInsertion(file.model, plan);
      if (!inserted.modified) {
        expect(plan.leftAlone.map((one) => one.reason)).not.toContain("");
        return;
      }
      const again = await openModelFile(
        memorySource("inserted.onnx", await modelToBytes(inserted.model)),
      );
      const runtime = block === "repvgg" ? loadNodeRuntime : undefined;
      const shape = inputShape(path, file.model);
      const input = generateInputs(file.model, { shape }).values().next().value;
      const options = { runtime, input, replicas: 5 };
      const { verdict, weights } = await verify(again, file, options);
      expect(weights.maxOmega).toBeLessThanOrEqual(ONE_ROUNDING);
      expect(verdict.word).toBe("EXACT-FOLD");
      // And back. What has no batch norm must come back bit by bit, which DBB's averages (ninths) do not allow.
      if (again.kind !== "onnx") throw new Error("not a model");
      const fused = applyPlan(again.model, await planReparam(again.model)).model;
      const back = await verify(file, onnxFile("again.onnx", fused));
      if (block !== "dbb")
        expect(["EXACT-FOLD", "EQUAL-UP-TO-ROUNDING"]).toContain(back.verdict.word);
    } finally {
      await source.close();
    }
  });
});
