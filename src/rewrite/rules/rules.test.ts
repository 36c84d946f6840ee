/** @file Every operator with a rule fires, in the spelling of old and new operator sets; and the nodes go. */

import { describe, expect, test } from "vitest";
import {
  difference,
  expectFused,
  expectRefused,
  type Fused,
} from "../../../test/support/fuse-check.ts";
import {
  conv,
  dyadicNorm,
  float32,
  graphOf,
  int64,
  type Parts,
  wholeTensor,
} from "../../../test/support/graph-parts.ts";
import { lazyTensor, readFloat64, tensor } from "../../core/tensor.ts";
import type { Model } from "../../ir/graph.ts";
import { planReparam } from "../plan.ts";

const DENSE = { inC: 4, outC: 4, kernel: [3, 3], pads: [1, 1, 1, 1], bias: true };

/** An operator behind a biased dense convolution; the two become one. */
function behindConv(draw: (parts: Parts, value: string) => string, opset = 17): Model {
  return graphOf((parts, x) => draw(parts, conv(parts, x, DENSE)), { opset });
}

function operators({ model }: Fused): string[] {
  return model.graph.nodes.map((node) => node.opType);
}

describe("one convolution is left for a convolution and", () => {
  const cases: [string, (parts: Parts, value: string) => string, number?][] = [
    ["a normalization", (parts, v) => dyadicNorm(parts, v, 4)],
    ["Identity and Neg", ({ g }, v) => g.node("Neg", [g.node("Identity", [v])])],
    ["Dropout of opset 7", ({ g }, v) => g.node("Neg", [g.node("Dropout", [v])]), 7],
    [
      "Dropout with its inputs",
      (parts, v) => {
        const ratio = parts.g.initializer("ratio", float32([], [0.5]));
        const off = parts.g.initializer("off", lazyTensor(tensor("bool", [], new Uint8Array(1))));
        return parts.g.node("Neg", [parts.g.node("Dropout", [v, ratio, off])]);
      },
      13,
    ],
    ["a Cast to its own type", ({ g }, v) => g.node("Neg", [g.node("Cast", [v], { to: 1 })])],
    [
      "additions, subtractions and products with constants on either side",
      (parts, v) => {
        const c = () => parts.g.initializer("c", wholeTensor(parts, [4, 1, 1]));
        const added = parts.g.node("Add", [c(), v]);
        const left = parts.g.node("Sub", [c(), added]);
        const right = parts.g.node("Sub", [left, c()]);
        return parts.g.node("Mul", [c(), right]);
      },
    ],
    [
      "a division by a constant",
      (parts, v) => parts.g.node("Div", [v, parts.g.initializer("c", float32([1], [4]))]),
    ],
    [
      "a variadic Sum with a constant",
      (parts, v) => {
        const constant = parts.g.initializer("c", wholeTensor(parts, [1, 4, 1, 1]));
        return parts.g.node("Sum", [constant, v, v]);
      },
    ],
    [
      "channels sliced, by attributes",
      ({ g }, v) => g.node("Slice", [v], { axes: [1], starts: [1], ends: [-1] }),
      9,
    ],
    [
      "channels sliced backwards, by inputs",
      (parts, v) => {
        const bounds = [[-1], [-5], [1], [-1]].map((list) => int64(parts, list));
        return parts.g.node("Slice", [v, ...bounds]);
      },
    ],
    [
      "channels gathered",
      (parts, v) => parts.g.node("Gather", [v, int64(parts, [2, -1, 0])], { axis: 1 }),
    ],
    [
      "channels split and joined, by attribute",
      ({ g }, v) => {
        const [a, b] = g.nodeWithOutputs("Split", [v], 2, { axis: 1, split: [1, 3] });
        return g.node("Concat", [b!, a!], { axis: 1 });
      },
      11,
    ],
    [
      "channels split and joined, by input",
      (parts, v) => {
        const [a, b] = parts.g.nodeWithOutputs("Split", [v, int64(parts, [3, 1])], 2, { axis: -3 });
        return parts.g.node("Concat", [b!, a!], { axis: -3 });
      },
      13,
    ],
    [
      "a crop",
      (parts, v) => {
        const bounds = [
          [1, 1],
          [-1, 2 ** 31 - 1],
          [2, 3],
        ].map((list) => int64(parts, list));
        return parts.g.node("Slice", [v, ...bounds]);
      },
    ],
    [
      "a crop by negative pads",
      (parts, v) => parts.g.node("Pad", [v, int64(parts, [0, 0, -1, 0, 0, 0, 0, -1])]),
    ],
  ];
  test.each(cases)("%s", async (_name, draw, opset = 17) => {
    const fused = await expectFused(behindConv(draw, opset), 1);
    expect(operators(fused).filter((op) => op !== "Conv")).toEqual([]);
  });
});

describe("padding goes into the convolution behind it", () => {
  const unbiased = { ...DENSE, pads: [0, 0, 0, 0], bias: true };
  test.each([
    ["by attribute", 2, (_: Parts, x: string) => [x], { pads: [0, 0, 1, 2, 0, 0, 1, 0] }],
    [
      "by input",
      13,
      (parts: Parts, x: string) => [x, int64(parts, [0, 0, 1, 2, 0, 0, 1, 0])],
      undefined,
    ],
    [
      "by input with a fill of zero and axes",
      18,
      (parts: Parts, x: string) => [
        x,
        int64(parts, [1, 2, 1, 0]),
        parts.g.initializer("fill", float32([], [0])),
        int64(parts, [2, -1]),
      ],
      undefined,
    ],
  ])("%s", async (_name, opset, inputs, attributes) => {
    const model = graphOf(
      (parts, x) => conv(parts, parts.g.node("Pad", inputs(parts, x), attributes ?? {}), unbiased),
      { opset: Math.max(opset, 7) },
    );
    const plan = await planReparam(model);
    expect(plan.regions[0]!.emission.beginPads).toEqual([1, 2]);
    expect(plan.regions[0]!.emission.endPads).toEqual([1, 0]);
  });

  test("a pad with the value's own constant continues it", async () => {
    const model = graphOf((parts, x) => {
      const weight = parts.g.initializer("w", wholeTensor(parts, [2, 4, 1, 1]));
      const bias = parts.g.initializer("b", float32([2], [3, 3]));
      const inner = parts.g.node("Conv", [x, weight, bias]);
      const pads = int64(parts, [0, 0, 1, 1, 0, 0, 1, 1]);
      const fill = parts.g.initializer("fill", float32([], [3]));
      const padded = parts.g.node("Pad", [inner, pads, fill]);
      const wide = conv(parts, padded, { inC: 2, outC: 4, kernel: [3, 3] });
      return parts.g.node("Add", [wide, conv(parts, x, DENSE)]);
    });
    await expectFused(model, 1);
  });
});

describe("auto_pad", () => {
  const same = (upper: boolean, stride: number, sizes?: readonly number[]) =>
    graphOf(
      (parts, x) => {
        const weight = parts.g.initializer("w", wholeTensor(parts, [4, 4, 4, 4]));
        const value = parts.g.node("Conv", [x, weight], {
          auto_pad: upper ? "SAME_UPPER" : "SAME_LOWER",
          strides: [stride, stride],
        });
        return dyadicNorm(parts, value, 4);
      },
      sizes ? { sizes } : {},
    );

  test.each([
    [true, [1, 1], [2, 2]],
    [false, [2, 2], [1, 1]],
  ])(
    "SAME (upper: %s) with stride 1 has the same pads for every size",
    async (upper, begin, end) => {
      const [region] = (await planReparam(same(upper, 1))).regions;
      expect([region!.emission.beginPads, region!.emission.endPads]).toEqual([begin, end]);
    },
  );

  test("SAME with a stride is resolved for a fixed size only", async () => {
    // ⌈9/2⌉ = 5 positions need 4·2 + 4 = 12 columns: 3 more than 9.  ⌈8/2⌉ = 4 need 10: 2 more than 8.
    const [region] = (await planReparam(same(true, 2, [9, 8]))).regions;
    expect([region!.emission.beginPads, region!.emission.endPads]).toEqual([
      [1, 1],
      [2, 1],
    ]);
    const plan = await planReparam(same(true, 2));
    // The normalization behind it cannot be reached, and says nothing of its own.
    expect(plan.regions).toEqual([]);
  });
});

test("a branch of PadSelf and the dense branch become one convolution", async () => {
  const model = graphOf((parts, x) => {
    const inner = dyadicNorm(parts, conv(parts, x, { inC: 4, outC: 4, bias: true }), 4);
    const padded = parts.g.node("PadSelf", [inner], { pads: [1, 1, 1, 1] }, "own", "reparam");
    const chain = conv(parts, padded, { inC: 4, outC: 4, kernel: [3, 3] });
    return parts.g.node("Add", [chain, conv(parts, x, DENSE)]);
  });
  const fused = await expectFused(model, 1);
  expect(fused.regions[0]!.region.nodes).toHaveLength(6);
});

describe("linear layers", () => {
  const layer = (transposed: boolean): Model =>
    graphOf(
      (parts, x) => {
        const before = dyadicNorm(parts, x, 6, "before");
        const shape = transposed ? [5, 6] : [6, 5];
        const matrix = parts.g.initializer("w", wholeTensor(parts, shape));
        const bias = parts.g.initializer("b", wholeTensor(parts, [5]));
        const value = parts.g.node("Gemm", [before, matrix, bias], {
          transB: transposed ? 1 : 0,
          alpha: { float: 2 },
          beta: { float: 0.5 },
        });
        return dyadicNorm(parts, value, 5, "after");
      },
      { channels: 6, sizes: [] },
    );

  test.each([true, false])(
    "normalizations before and behind a Gemm go into it (transB: %s)",
    async (transposed) => {
      const model = layer(transposed);
      const fused = await planReparam(model);
      expect(fused.regions).toHaveLength(1);
      const { affine } = fused.regions[0]!;
      // By hand: after(2·(W·before(x)) + b/2) at x = 0 and x = e₀.
      const { initializers } = model.graph;
      const read = async (name: string) => readFloat64(initializers.get(name)!);
      const norm = async (name: string, value: readonly number[]): Promise<number[]> => {
        const keys = ["weight", "bias", "running_mean", "running_var"];
        const [g, b, m, v] = await Promise.all(keys.map((key) => read(`${name}.${key}`)));
        return value.map((n, c) => ((n - m![c]!) / Math.sqrt(v![c]!)) * g![c]! + b![c]!);
      };
      const w = await read("w");
      const bias = await read("b");
      const forward = async (x: readonly number[]): Promise<number[]> => {
        const before = await norm("before", x);
        const product = Array.from({ length: 5 }, (_, o) =>
          before.reduce((s, n, k) => s + n * w[transposed ? o * 6 + k : k * 5 + o]!, 0),
        );
        return norm(
          "after",
          product.map((n, o) => 2 * n + bias[o]! / 2),
        );
      };
      const zero = await forward([0, 0, 0, 0, 0, 0]);
      expect([...(await affine.biases()).values]).toEqual(zero);
      const one = await forward([1, 0, 0, 0, 0, 0]);
      const { values } = await affine.weights(0, 5, false);
      expect(one.map((n, o) => n - zero[o]!)).toEqual(zero.map((_, o) => values[o * 6]!));
    },
  );

  test("a MatMul of rank two and what follows become one Gemm", async () => {
    const model = graphOf(
      (parts, x) => {
        const matrix = parts.g.initializer("w", wholeTensor(parts, [6, 5]));
        const product = parts.g.node("MatMul", [x, matrix]);
        const sum = parts.g.node("Add", [
          parts.g.initializer("b", wholeTensor(parts, [5])),
          product,
        ]);
        return dyadicNorm(parts, sum, 5);
      },
      { channels: 6, sizes: [] },
    );
    const fused = await expectFused(model, 1, { sizes: [] });
    expect(fused.model.graph.nodes.map((node) => node.opType)).toEqual(["Gemm"]);
  });

  test("a MatMul over stacks of matrices has no channel axis and stays", async () => {
    const model = graphOf(
      (parts, x) => {
        const matrix = parts.g.initializer("w", wholeTensor(parts, [8, 8]));
        return dyadicNorm(parts, parts.g.node("MatMul", [x, matrix]), 4);
      },
      { sizes: [8] },
    );
    await expectRefused(model, []);
  });
});

test("a graph compared with one in which a number differs is not the same", async () => {
  const model = behindConv((parts, v) => dyadicNorm(parts, v, 4));
  const fused = await expectFused(model, 1);
  const [applied] = fused.regions;
  const { graph } = fused.model;
  const values = await readFloat64(graph.initializers.get(applied!.weight)!);
  values[7] = values[7]! + 1;
  const initializers = new Map(graph.initializers).set(
    applied!.weight,
    float32([4, 4, 3, 3], values),
  );
  const wrong = { ...fused.model, graph: { ...graph, initializers } };
  expect(await difference(model, wrong, [7, 8])).toBeGreaterThan(0);
});
