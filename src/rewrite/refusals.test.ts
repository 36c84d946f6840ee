/** @file What must not be fused, and the reason a person reads. */

import { expect, test } from "vitest";
import { expectFused, expectRefused } from "../../test/support/fuse-check.ts";
import {
  conv,
  dyadicNorm,
  graphOf,
  int64,
  type Parts,
  wholeTensor,
} from "../../test/support/graph-parts.ts";
import { createRng } from "../core/rng.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import { planReparam } from "./plan.ts";

const DENSE = { inC: 4, outC: 4, kernel: [3, 3], pads: [1, 1, 1, 1] };
const POINTWISE = { inC: 4, outC: 4 };

function dense(parts: Parts, x: string): string {
  return conv(parts, x, { ...DENSE, name: "dense" });
}

function pointwise(parts: Parts, x: string): string {
  return conv(parts, x, { ...POINTWISE, name: "pointwise" });
}

test("a normalization with a shift before a padded convolution", async () => {
  const model = graphOf((parts, x) => {
    const inner = conv(parts, dyadicNorm(parts, x, 4), { ...DENSE, name: "after" });
    return parts.g.node("Add", [inner, pointwise(parts, x)]);
  });
  await expectRefused(model, [
    "after: zero padding of 1, 1: the value continues with its bias beyond the border, and the padding puts zeros there",
  ]);
});

test("a bias before a padded convolution, explicit padding or not", async () => {
  const biased = graphOf((parts, x) => {
    const inner = conv(parts, x, { ...POINTWISE, bias: true, name: "biased" });
    return parts.g.node("Add", [
      conv(parts, inner, { ...DENSE, name: "wide" }),
      pointwise(parts, x),
    ]);
  });
  await expectRefused(biased, [/^wide: zero padding of 1, 1: the value continues with its bias/]);
  const padded = graphOf((parts, x) => {
    const inner = conv(parts, x, { ...POINTWISE, bias: true, name: "biased" });
    const pads = int64(parts, [0, 0, 1, 1, 0, 0, 1, 1]);
    const pad = parts.g.node("Pad", [inner, pads], {}, "pad");
    const wide = conv(parts, pad, { inC: 4, outC: 4, kernel: [3, 3], name: "wide" });
    return parts.g.node("Add", [wide, pointwise(parts, x)]);
  });
  const plan = await planReparam(padded);
  expect(plan.refusals.map(({ reason }) => reason)).toEqual([
    "wide: pad: padding by 1, 1: the value continues with its bias beyond the border, and the padding puts zeros there",
  ]);
  // What can be fused is: the padding goes into the convolution behind it.
  expect(plan.regions.map(({ input, output }) => [input, output])).toEqual([["biased", "wide"]]);
});

test("an average that leaves the padding out", async () => {
  const model = graphOf((parts, x) => {
    const pool = parts.g.node(
      "AveragePool",
      [x],
      { kernel_shape: [3, 3], pads: [1, 1, 1, 1], count_include_pad: 0 },
      "pool",
    );
    return parts.g.node("Add", [dense(parts, x), pool]);
  });
  await expectRefused(model, [
    "pool: the average leaves the padding out, so its divisor changes at the border",
  ]);
});

test("an average over windows that ceil_mode cuts, unless the fixed size cuts none", async () => {
  const pooled = (sizes?: readonly number[]) =>
    graphOf(
      (parts, x) => {
        const pool = parts.g.node(
          "AveragePool",
          [x],
          { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 },
          "pool",
        );
        const strided = conv(parts, x, {
          ...DENSE,
          kernel: [2, 2],
          pads: [0, 0, 0, 1],
          strides: [2, 2],
        });
        return parts.g.node("Add", [strided, pool]);
      },
      { opset: 17, ...(sizes ? { sizes } : {}) },
    );
  await expectRefused(pooled(), [
    "pool: ceil_mode with stride 2 cuts the last window for some input sizes, so its divisor changes there",
  ]);
  await expectRefused(pooled([8, 7]), [/^pool: ceil_mode with stride 2/]);
  await expectFused(pooled([8, 6]), 1, { sizes: [8, 6] });
});

test("reflected padding beside zero padding", async () => {
  const model = graphOf((parts, x) => {
    const pads = int64(parts, [0, 0, 1, 1, 0, 0, 1, 1]);
    const reflected = parts.g.node("Pad", [x, pads], { mode: "reflect" }, "mirror");
    const inner = conv(parts, reflected, { inC: 4, outC: 4, kernel: [3, 3] });
    return parts.g.node("Add", [inner, pointwise(parts, x)]);
  });
  await expectRefused(model, [
    "mirror: mode reflect continues the image by copies of itself, not by a constant",
  ]);
});

test("branches of different strides", async () => {
  const model = graphOf((parts, x) => {
    const strided = conv(parts, x, { ...POINTWISE, strides: [2, 2] });
    return parts.g.node("Add", [dense(parts, x), strided], {}, "sum");
  });
  await expectRefused(model, ["sum: the branches have strides 1 and 2"]);
});

test("a pointwise branch beside an unpadded 3 × 3 kernel", async () => {
  const model = graphOf((parts, x) => {
    const bare = conv(parts, x, { inC: 4, outC: 4, kernel: [3, 3] });
    return parts.g.node("Add", [bare, pointwise(parts, x)], {}, "sum");
  });
  await expectRefused(model, [
    "sum: the branches cover different output sizes (end slack -2 and 0): their paddings do not match their kernels",
  ]);
});

test("an inner value that is an output of the graph", async () => {
  const model = graphOf((parts, x) => {
    const tapped = dense(parts, x);
    return [tapped, parts.g.node("Add", [tapped, pointwise(parts, x)])];
  });
  await expectRefused(model, ["its inner value dense is an output of the graph"]);
});

test("an inner value that another node reads", async () => {
  const model = graphOf((parts, x) => {
    const read = dense(parts, x);
    const beside = parts.g.node("Relu", [read], {}, "relu");
    return [beside, parts.g.node("Add", [read, pointwise(parts, x)])];
  });
  await expectRefused(model, ["its inner value dense is also read by relu"]);
});

test("an inner value that a subgraph captures", async () => {
  const body = createGraphBuilder();
  body.output(body.node("Relu", ["dense"]), "float32", undefined);
  const branch = body.buildGraph();
  const model = graphOf((parts, x) => {
    const read = dense(parts, x);
    const sum = parts.g.node("Add", [read, pointwise(parts, x)]);
    const condition = parts.g.node("ReduceMax", [x], { keepdims: 0 });
    const zero = parts.g.node("Sub", [condition, condition]);
    const greater = parts.g.node("Greater", [condition, zero]);
    const chosen = parts.g.node(
      "If",
      [greater],
      { then_branch: branch, else_branch: branch },
      "choice",
    );
    return [sum, chosen];
  });
  await expectRefused(model, ["its inner value dense is also read by choice"]);
});

test("a separable convolution is left alone, without a word", async () => {
  const model = graphOf((parts, x) => {
    const depthwise = conv(parts, x, { ...DENSE, group: 4, name: "depthwise" });
    return conv(parts, depthwise, { ...POINTWISE, outC: 8, name: "pointwise" });
  });
  // 4·9 + 4·8 = 68 multiply-accumulates against 4·8·9 = 288 as one kernel.
  await expectRefused(model, []);
  await expectFused(model, 1, { allowCostlier: true });
});

test("branches whose union is denser than both", async () => {
  const model = graphOf((parts, x) => {
    const grouped = conv(parts, x, { ...DENSE, group: 4 });
    return parts.g.node("Add", [grouped, pointwise(parts, x)]);
  });
  // Depthwise 3 × 3 (36) and dense 1 × 1 (16) would become dense 3 × 3 (144).
  await expectRefused(model, [
    "one convolution costs 144 multiply-accumulates per position, the nodes cost 52",
  ]);
  await expectFused(model, 1, { allowCostlier: true });
});

test("a normalization in training mode", async () => {
  const model = graphOf((parts, x) => {
    const names = dyadicNorm(parts, dense(parts, x), 4);
    return names;
  });
  const [first, norm] = model.graph.nodes;
  const attributes = new Map(norm!.attributes).set("training_mode", { type: "int", value: 1 });
  const training = {
    ...model,
    graph: { ...model.graph, nodes: [first!, { ...norm!, attributes }] },
  };
  await expectRefused(training, ["bn: it is in training mode and uses the batch's own statistics"]);
});

test("a weight that is computed from the input", async () => {
  const model = graphOf((parts, x) => {
    const attention = parts.g.node("GlobalAveragePool", [x]);
    const kernel = parts.g.node("Reshape", [attention, int64(parts, [4, 1, 1, 1])]);
    const dynamic = parts.g.node("Conv", [x, kernel], { group: 4 }, "dynamic");
    return parts.g.node("Add", [dense(parts, x), dynamic]);
  });
  const plan = await planReparam(model);
  expect(plan.regions).toEqual([]);
});

test("a kernel that another layer uses as well", async () => {
  const model = graphOf((parts, x) => {
    const shared = dense(parts, x);
    const after = parts.g.node("Relu", [dyadicNorm(parts, shared, 4)]);
    const again = parts.g.node("Conv", [after, "dense.weight"], { pads: [1, 1, 1, 1] }, "again");
    return parts.g.node("Relu", [again]);
  });
  await expectRefused(model, [
    "its kernel dense.weight is also used by again, so the model would store it twice",
  ]);
});

test("a value multiplied by another of the region, a constant that is no channel's, a batch slice", async () => {
  const cases: [(parts: Parts, x: string) => string, RegExp][] = [
    [
      (parts, x) => parts.g.node("Mul", [dense(parts, x), pointwise(parts, x)], {}, "product"),
      /^product: it multiplies two values of the region/,
    ],
    [
      (parts, x) => {
        const map = parts.g.initializer("map", wholeTensor(parts, [1, 1, 3, 3]));
        return parts.g.node("Mul", [dense(parts, x), map], {}, "mask");
      },
      /^mask: the constant does not act per channel/,
    ],
    [
      (parts, x) => {
        const bounds = [int64(parts, [0]), int64(parts, [1]), int64(parts, [0])];
        return parts.g.node("Slice", [dense(parts, x), ...bounds], {}, "first");
      },
      /^first: it slices the batch/,
    ],
    [
      (parts, x) => {
        const bounds = [int64(parts, [0]), int64(parts, [5]), int64(parts, [2])];
        return parts.g.node("Slice", [dense(parts, x), ...bounds], {}, "rows");
      },
      /^rows: bounds 0, 5, step 1 depend on the input size/,
    ],
  ];
  for (const [draw, reason] of cases) {
    const model = graphOf((parts, x) => {
      const inner = draw(parts, x);
      return parts.g.node("Add", [inner, conv(parts, x, POINTWISE)]);
    });
    await expectRefused(model, [reason]);
  }
});

test("a normalization behind a transposed convolution", async () => {
  const model = graphOf((parts, x) => {
    const weight = parts.g.initializer("w", wholeTensor(parts, [4, 4, 2, 2]));
    const grown = parts.g.node("ConvTranspose", [x, weight], { strides: [2, 2] }, "grown");
    return dyadicNorm(parts, grown, 4);
  });
  await expectRefused(model, [
    "bn: it normalizes what the transposed convolution grown makes; only convolutions and linear layers are fused",
  ]);
});

test("a normalization behind a kernel, or with statistics, that the model does not store", async () => {
  const given = (name: string, shape: readonly number[]) => (parts: Parts) =>
    parts.g.input(name, "float32", shape);
  const kernel = given("kernel", [4, 4, 1, 1]);
  const open = graphOf((parts, x) =>
    dyadicNorm(parts, parts.g.node("Conv", [x, kernel(parts)], {}, "open"), 4),
  );
  await expectRefused(open, [
    "bn: it normalizes what open makes, whose weight is an input of the graph",
  ]);
  const scaled = graphOf((parts, x) => {
    const weight = parts.g.initializer("w", wholeTensor(parts, [4, 4, 1, 1]));
    const halved = parts.g.node("Mul", [weight, kernel(parts)], {}, "half");
    return dyadicNorm(parts, parts.g.node("Conv", [x, halved], {}, "open"), 4);
  });
  await expectRefused(scaled, [
    "bn: it normalizes what open makes, whose weight is computed while the model runs (Mul)",
  ]);
  const model = graphOf((parts, x) => {
    const [scale, bias, variance] = ["a", "b", "v"].map((name) =>
      parts.g.initializer(name, wholeTensor(parts, [4])),
    );
    const operands = [pointwise(parts, x), scale!, bias!, given("mu", [4])(parts), variance!];
    return parts.g.node("BatchNormalization", operands, {}, "bn");
  });
  await expectRefused(model, ["bn: its mean is an input of the graph"]);
});

test("a normalization of a linear layer's last axis", async () => {
  const g = createGraphBuilder();
  const parts: Parts = { g, rng: createRng(4) };
  const x = g.input("x", "float32", ["n", 7, 6]);
  const y = g.node("MatMul", [x, g.initializer("w", wholeTensor(parts, [6, 4]))], {}, "fc");
  const first = g.node("Transpose", [y], { perm: [0, 2, 1] }, "turn");
  const last = g.node("Transpose", [dyadicNorm(parts, first, 4)], { perm: [0, 2, 1] }, "back");
  g.output(last, "float32", ["n", 7, 4]);
  await expectRefused(g.build(), [
    "bn: it normalizes what fc makes, but turn (Transpose) between them moves the elements; only channels on axis 1 are fused",
  ]);
});

test("a normalization of its own, behind an activation, is left alone without a word", async () => {
  const model = graphOf((parts, x) =>
    dyadicNorm(parts, parts.g.node("Relu", [dense(parts, x)]), 4),
  );
  const plan = await planReparam(model);
  expect([plan.regions, plan.refusals]).toEqual([[], []]);
});
