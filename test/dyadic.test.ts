/**
 * @file Both forms of a block give the same bits in float32, where all numbers are small and dyadic: whole weights and
 * inputs, variances that are powers of 4, epsilon 0. Every product and sum is exact, so no tolerance is needed.
 */

import { describe, expect, test } from "vitest";
import { createRng } from "../src/core/rng.ts";
import { float32Tensor, readFloat64, type Tensor } from "../src/core/tensor.ts";
import { loadNodeRuntime } from "../src/host/ort-node.ts";
import type { Model } from "../src/ir/graph.ts";
import { applyPlan } from "../src/rewrite/apply.ts";
import { cleanModel } from "../src/rewrite/clean.ts";
import { planReparam } from "../src/rewrite/plan.ts";
import { expectFused } from "./support/fuse-check.ts";
import { conv, dyadicNorm, float32, graphOf, int64, type Parts } from "./support/graph-parts.ts";

const DENSE = { inC: 4, outC: 4, kernel: [3, 3], pads: [1, 1, 1, 1] };

function normedConv(parts: Parts, x: string, shape: Parameters<typeof conv>[2]): string {
  return dyadicNorm(parts, conv(parts, x, shape), shape.outC);
}

function sumOf({ g }: Parts, values: readonly string[]): string {
  return values.slice(1).reduce((a, b) => g.node("Add", [a, b]), values[0]!);
}

const BLOCKS: [string, (parts: Parts, x: string) => string][] = [
  [
    "RepVGG",
    (p, x) =>
      sumOf(p, [
        normedConv(p, x, DENSE),
        normedConv(p, x, { inC: 4, outC: 4 }),
        dyadicNorm(p, x, 4),
      ]),
  ],
  [
    "RepVGG of two groups with stride 2",
    (p, x) =>
      sumOf(p, [
        normedConv(p, x, { ...DENSE, outC: 6, group: 2, strides: [2, 2] }),
        normedConv(p, x, { inC: 4, outC: 6, group: 2, strides: [2, 2] }),
      ]),
  ],
  [
    "ACNet",
    (p, x) =>
      sumOf(p, [
        normedConv(p, x, DENSE),
        normedConv(p, x, { inC: 4, outC: 4, kernel: [1, 3], pads: [0, 1, 0, 1] }),
        normedConv(p, x, { inC: 4, outC: 4, kernel: [3, 1], pads: [1, 0, 1, 0] }),
      ]),
  ],
  [
    "MobileOne",
    (p, x) =>
      sumOf(p, [
        dyadicNorm(p, x, 4),
        normedConv(p, x, { inC: 4, outC: 4, group: 4 }),
        ...[1, 2, 3, 4].map(() => normedConv(p, x, { ...DENSE, group: 4 })),
      ]),
  ],
  [
    "a large kernel with dilated ones",
    (p, x) =>
      sumOf(p, [
        normedConv(p, x, { inC: 4, outC: 4, group: 4, kernel: [7, 7], pads: [3, 3, 3, 3] }),
        normedConv(p, x, { ...DENSE, group: 4, dilations: [2, 2], pads: [2, 2, 2, 2] }),
        normedConv(p, x, { ...DENSE, group: 4, dilations: [3, 3], pads: [3, 3, 3, 3] }),
      ]),
  ],
  [
    "a 2 × 2 average beside a strided kernel",
    (p, x) => {
      const inner = conv(p, x, { inC: 4, outC: 4, bias: true });
      const pool = p.g.node("AveragePool", [inner], { kernel_shape: [2, 2], strides: [2, 2] });
      const side = normedConv(p, x, { inC: 4, outC: 4, kernel: [2, 2], strides: [2, 2] });
      return p.g.node("Add", [dyadicNorm(p, pool, 4), side]);
    },
  ],
  [
    "a concatenation of branches, normalized as a whole",
    (p, x) => {
      const left = conv(p, x, { ...DENSE, outC: 3 });
      const right = conv(p, x, { ...DENSE, outC: 5 });
      return dyadicNorm(p, p.g.node("Concat", [left, right], { axis: 1 }), 8);
    },
  ],
  [
    "a chain over a padded value without bias",
    (p, x) => {
      const inner = conv(p, x, { inC: 4, outC: 4 });
      const padded = p.g.node("Pad", [inner, int64(p, [0, 0, 1, 1, 0, 0, 1, 1])]);
      const chain = normedConv(p, padded, { inC: 4, outC: 4, kernel: [3, 3] });
      return p.g.node("Add", [chain, normedConv(p, x, DENSE)]);
    },
  ],
];

function wholeInput(model: Model): Tensor {
  const rng = createRng(9);
  const channels = model.graph.inputs[0]!.shape![1] as number;
  const shape = [2, channels, 8, 10];
  const count = shape.reduce((a, b) => a * b, 1);
  return float32Tensor(
    shape,
    Array.from({ length: count }, () => rng.integer(9) - 4),
  );
}

async function run(model: Model): Promise<Float32Array> {
  const runtime = await loadNodeRuntime();
  const session = await runtime.createSession(model, { threads: 1 });
  const [output] = [...(await session.run(new Map([["x", wholeInput(model)]]))).values()];
  await session.release();
  const { bytes } = output!;
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

async function fuse(model: Model): Promise<{ after: Model; weight: string }> {
  const plan = await planReparam(model);
  expect(plan.refusals.map(({ reason }) => reason)).toEqual([]);
  const applied = applyPlan(model, plan);
  expect(applied.regions).toHaveLength(1);
  return { after: cleanModel(applied.model).model, weight: applied.regions[0]!.weight };
}

describe("the same bits before and after", () => {
  test.each(BLOCKS)("%s", async (_name, draw) => {
    const model = graphOf(draw);
    const { after } = await fuse(model);
    expect(after.graph.nodes).toHaveLength(1);
    expect(await run(after)).toEqual(await run(model));
  });

  test.each(BLOCKS)("%s, unless one weight is off by one", async (_name, draw) => {
    const model = graphOf(draw);
    const { after, weight } = await fuse(model);
    const stored = after.graph.initializers.get(weight)!;
    const values = await readFloat64(stored);
    const middle = values.length >> 1;
    values[middle] = values[middle]! + 1;
    const initializers = new Map(after.graph.initializers).set(
      weight,
      float32(stored.shape, values),
    );
    const wrong: Model = { ...after, graph: { ...after.graph, initializers } };
    expect(await run(wrong)).not.toEqual(await run(model));
  });

  test.each([7, 9, 11, 13, 15, 18, 20, 22])("RepVGG in operator set %i", async (opset) => {
    const model = graphOf(BLOCKS[0]![1], { opset });
    const { after } = await fuse(model);
    expect(await run(after)).toEqual(await run(model));
  });

  test("a linear layer between normalizations", async () => {
    const model = graphOf((p, x) => {
      const flat = p.g.node("Flatten", [p.g.node("GlobalMaxPool", [x])]);
      const matrix = p.g.initializer(
        "w",
        float32([4, 3], [1, -2, 3, 2, 2, -1, 1, 1, -3, 2, -1, 1]),
      );
      const product = p.g.node("MatMul", [dyadicNorm(p, flat, 4, "before"), matrix]);
      return dyadicNorm(p, product, 3, "after");
    });
    const { after } = await fuse(model);
    expect(after.graph.nodes.map((node) => node.opType)).toEqual([
      "GlobalMaxPool",
      "Flatten",
      "Gemm",
    ]);
    expect(await run(after)).toEqual(await run(model));
  });

  test("a DBB chain that continues by its own bias, by the obvious evaluator", async () => {
    const model = graphOf((p, x) => {
      const inner = normedConv(p, x, { inC: 4, outC: 4 });
      const padded = p.g.node("PadSelf", [inner], { pads: [1, 1, 1, 1] }, "own", "reparam");
      const chain = normedConv(p, padded, { inC: 4, outC: 4, kernel: [3, 3] });
      const mean = p.g.node(
        "PadSelf",
        [normedConv(p, x, { inC: 4, outC: 4 })],
        { pads: [1, 1, 0, 0] },
        "own",
        "reparam",
      );
      const pool = p.g.node("AveragePool", [mean], { kernel_shape: [2, 2] });
      return sumOf(p, [
        chain,
        dyadicNorm(p, pool, 4),
        normedConv(p, x, DENSE),
        normedConv(p, x, { inC: 4, outC: 4 }),
      ]);
    });
    await expectFused(model, 1);
  });
});
