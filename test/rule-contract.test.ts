/**
 * @file Every operator the engine understands: a graph in which it is fused, one in which it must not be and says why,
 * and the verifier, which notices a changed number in either form.
 */

import { describe, expect, test } from "vitest";
import type { OnnxFile } from "../src/convert/open.ts";
import { createRng } from "../src/core/rng.ts";
import { type LazyTensor, lazyTensor, readFloat64, tensor } from "../src/core/tensor.ts";
import { loadNodeRuntime } from "../src/host/ort-node.ts";
import { createGraphBuilder } from "../src/ir/builder.ts";
import type { Model } from "../src/ir/graph.ts";
import { planReparam } from "../src/rewrite/plan.ts";
import { RULES } from "../src/rewrite/rules/index.ts";
import { verify } from "../src/verify/verify.ts";
import { expectFused, type Fused } from "./support/fuse-check.ts";
import {
  conv,
  dyadicNorm,
  float32,
  int64,
  type Parts,
  wholeTensor,
} from "./support/graph-parts.ts";

/** Draws the operator, as node `op`, behind the value `v`; `x` is the region's input. */
type Draw = (parts: Parts, v: string, x: string) => string;

interface Contract {
  readonly fires: Draw;
  /** Undefined: the operator has no form that could be refused, as what it reads is affine or constant. */
  readonly refuses: { readonly draw: Draw; readonly reason: string } | undefined;
  /** Of `x`: 2 for layers of features. Default 4. */
  readonly rank?: number;
}

const DENSE = { inC: 4, outC: 4, kernel: [3, 3], pads: [1, 1, 1, 1] };
const perChannel = (parts: Parts): string =>
  parts.g.initializer("c", wholeTensor(parts, [4, 1, 1]));
const map = (parts: Parts): string => parts.g.initializer("map", wholeTensor(parts, [1, 1, 5, 6]));
const matrix = (parts: Parts): string => parts.g.initializer("m", wholeTensor(parts, [4, 4]));
const yes = (): LazyTensor => lazyTensor(tensor("bool", [], Uint8Array.of(1)));
const NOT_PER_CHANNEL = "op: the constant does not act per channel";

/** An operator of two operands: fused with a constant per channel, refused with one that differs by place. */
const withConstant = (opType: string): Contract => ({
  fires: (parts, v) => parts.g.node(opType, [v, perChannel(parts)], {}, "op"),
  refuses: {
    draw: (parts, v) => parts.g.node(opType, [v, map(parts)], {}, "op"),
    reason: NOT_PER_CHANNEL,
  },
});

const CONTRACTS: Readonly<Record<string, Contract>> = {
  Add: withConstant("Add"),
  Sub: withConstant("Sub"),
  Sum: withConstant("Sum"),
  AveragePool: {
    fires: ({ g }, v) => g.node("AveragePool", [v], { kernel_shape: [2, 2] }, "op"),
    refuses: {
      draw: ({ g }, v) =>
        g.node("AveragePool", [v], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }, "op"),
      reason: "op: the average leaves the padding out, so its divisor changes at the border",
    },
  },
  BatchNormalization: {
    fires: (parts, v) => dyadicNorm(parts, v, 4, "op"),
    refuses: {
      draw: (parts, v) => {
        const numbers = ["a", "b", "mean", "variance"].map((name) =>
          parts.g.initializer(name, float32([4], [1, 4, 1, 4])),
        );
        return parts.g.node("BatchNormalization", [v, ...numbers], { training_mode: 1 }, "op");
      },
      reason: "op: it is in training mode and uses the batch's own statistics",
    },
  },
  Cast: {
    fires: ({ g }, v) => g.node("Neg", [g.node("Cast", [v], { to: 1 }, "op")]),
    refuses: {
      draw: ({ g }, v) => g.node("Cast", [v], { to: 11 }, "op"), // DOUBLE
      reason: "op: it converts float32 to float64",
    },
  },
  Concat: {
    fires: ({ g }, v) => g.node("Concat", [v, v], { axis: 1 }, "op"),
    refuses: {
      draw: ({ g }, v) => g.node("Concat", [v, v], { axis: 2 }, "op"),
      reason: "op: it does not join along the channels",
    },
  },
  Conv: {
    fires: (parts, v) => conv(parts, v, { inC: 4, outC: 4, name: "op" }),
    refuses: {
      draw: (parts, v) => conv(parts, v, { ...DENSE, name: "op" }),
      reason:
        "op: zero padding of 1, 1: the value's own taps still reach the image beyond its border, so its formula is not constant there",
    },
  },
  Div: {
    fires: ({ g }, v) => g.node("Div", [v, g.initializer("c", float32([1], [4]))], {}, "op"),
    refuses: {
      draw: (parts, v) => parts.g.node("Div", [perChannel(parts), v], {}, "op"),
      reason: "op: it divides by a value of the region",
    },
  },
  Dropout: {
    fires: ({ g }, v) => g.node("Neg", [g.node("Dropout", [v], {}, "op")]),
    refuses: {
      draw: ({ g }, v) => {
        const ratio = g.initializer("ratio", float32([], [0.5]));
        return g.node("Dropout", [v, ratio, g.initializer("on", yes())], {}, "op");
      },
      reason: "op: it drops at random",
    },
  },
  Gather: {
    fires: (parts, v) => parts.g.node("Gather", [v, int64(parts, [2, 0])], { axis: 1 }, "op"),
    refuses: {
      draw: (parts, v) => parts.g.node("Gather", [v, int64(parts, [0])], { axis: 2 }, "op"),
      reason: "op: it does not choose channels",
    },
  },
  Gemm: {
    rank: 2,
    fires: (parts, v) => parts.g.node("Gemm", [v, matrix(parts)], { transB: 1 }, "op"),
    refuses: {
      draw: (parts, v) => parts.g.node("Gemm", [v, matrix(parts)], { transA: 1 }, "op"),
      reason: "op: it transposes the value",
    },
  },
  MatMul: {
    rank: 2,
    fires: (parts, v) => parts.g.node("MatMul", [v, matrix(parts)], {}, "op"),
    refuses: {
      draw: (parts, v, x) => parts.g.node("MatMul", [v, x], {}, "op"),
      reason: "op: its matrix is not a constant",
    },
  },
  Identity: {
    fires: ({ g }, v) => g.node("Neg", [g.node("Identity", [v], {}, "op")]),
    refuses: undefined,
  },
  Neg: { fires: ({ g }, v) => g.node("Neg", [v], {}, "op"), refuses: undefined },
  Mul: {
    fires: withConstant("Mul").fires,
    refuses: {
      draw: (parts, v, x) =>
        parts.g.node("Mul", [v, conv(parts, x, { inC: 4, outC: 4, name: "other" })], {}, "op"),
      reason: "op: it multiplies two values of the region",
    },
  },
  Pad: {
    fires: (parts, v) =>
      parts.g.node("Pad", [v, int64(parts, [0, 0, -1, 0, 0, 0, 0, -1])], {}, "op"),
    refuses: {
      draw: (parts, v) => {
        const pads = int64(parts, [0, 0, 1, 1, 0, 0, 1, 1]);
        return parts.g.node("Pad", [v, pads], { mode: "reflect" }, "op");
      },
      reason: "op: mode reflect continues the image by copies of itself, not by a constant",
    },
  },
  Slice: {
    fires: (parts, v) => parts.g.node("Slice", [v, ...bounds(parts, 1, 3, 1)], {}, "op"),
    refuses: {
      draw: (parts, v) => parts.g.node("Slice", [v, ...bounds(parts, 0, 1, 0)], {}, "op"),
      reason: "op: it slices the batch",
    },
  },
  Split: {
    fires: (parts, v) =>
      parts.g.nodeWithOutputs("Split", [v, int64(parts, [1, 3])], 2, { axis: 1 }, "op")[1]!,
    refuses: {
      draw: ({ g }, v) => g.nodeWithOutputs("Split", [v], 2, { axis: 2 }, "op")[1]!,
      reason: "op: it does not split the channels",
    },
  },
};

function bounds(parts: Parts, start: number, end: number, axis: number): string[] {
  return [[start], [end], [axis]].map((list) => int64(parts, list));
}

/** `x` and a layer of it, which has a bias. */
function modelOf(rank: number, draw: (parts: Parts, v: string, x: string) => string): Model {
  const parts: Parts = { g: createGraphBuilder(), rng: createRng(3) };
  const { g } = parts;
  const x = g.input("x", "float32", rank === 2 ? ["n", 4] : ["n", 4, "h", "w"]);
  const operands = ["weight", "bias"].map((key, i) =>
    g.initializer(`first.${key}`, wholeTensor(parts, i === 0 && rank === 2 ? [4, 4] : [4])),
  );
  const first =
    rank === 2
      ? g.node("Gemm", [x, ...operands], { transB: 1 }, "first")
      : conv(parts, x, { ...DENSE, bias: true, name: "layer" });
  g.output(draw(parts, first, x), "float32", undefined);
  return g.build();
}

const fileOf = (model: Model): OnnxFile => ({ kind: "onnx", name: "m.onnx", model, reading: {} });

/** The model with 1 added to one stored number. */
async function changed(model: Model, name: string, at: number): Promise<Model> {
  const before = model.graph.initializers.get(name)!;
  const values = await readFloat64(before);
  values[at] = values[at]! + 1;
  const initializers = new Map(model.graph.initializers).set(name, float32(before.shape, values));
  return { ...model, graph: { ...model.graph, initializers } };
}

describe.each(Object.entries(CONTRACTS))("%s", (opType, { fires, refuses, rank = 4 }) => {
  const fuse = async (): Promise<{ model: Model; fused: Fused }> => {
    const model = modelOf(rank, fires);
    const sizes = rank === 2 ? [] : [7, 8];
    return { model, fused: await expectFused(model, 1, { sizes, allowCostlier: true }) };
  };

  test("is fused", async () => {
    const { fused } = await fuse();
    expect(fused.model.graph.nodes).toHaveLength(1);
    expect(fused.plan.regions[0]!.nodes.map((node) => node.opType)).toContain(opType);
  });

  const { draw, reason } = refuses ?? {};
  const title = draw ? "is not fused where that is not exact, and says why" : "cannot be inexact";
  test(title, async () => {
    if (!draw) return;
    const model = modelOf(rank, (parts, v, x) => {
      const side =
        rank === 2
          ? parts.g.node("Gemm", [x, parts.g.initializer("s", wholeTensor(parts, [4, 4]))])
          : conv(parts, x, { inC: 4, outC: 4, name: "side" });
      return parts.g.node("Add", [draw(parts, v, x), side], {}, "joint");
    });
    const plan = await planReparam(model, { allowCostlier: true });
    expect(plan.refusals.map(({ reason }) => reason)).toContain(reason);
    const inside = plan.regions.flatMap(({ nodes }) => nodes.map((node) => node.name));
    expect(inside).not.toContain("op");
  });

  test("a changed number in either form is noticed", async () => {
    const { model, fused } = await fuse();
    const verdict = async (training: Model, deploy: Model): Promise<string> =>
      (await verify(fileOf(training), fileOf(deploy), { runtime: loadNodeRuntime })).verdict.word;
    // Regions that cost more are no part of the verifier's plan: there the outputs decide.
    expect(await verdict(model, fused.model)).toMatch(/^(EXACT-FOLD|EQUAL-UP-TO-ROUNDING)$/);
    const [region] = fused.regions;
    for (const name of [region!.weight, region!.bias]) {
      if (name === undefined) continue;
      const wrong = await changed(fused.model, name, 0);
      expect(await verdict(model, wrong), name).toBe("DIFFERENT");
    }
    const own = model.graph.nodes.find((node) => node.name === "op")!;
    for (const name of own.inputs) {
      if (model.graph.initializers.get(name)?.dtype !== "float32") continue;
      const wrong = await changed(model, name, 0);
      expect(await verdict(wrong, fused.model), name).toBe("DIFFERENT");
    }
  });
});

test("every operator with a rule has its contract", () => {
  expect(Object.keys(CONTRACTS).sort()).toEqual([...RULES.keys()].sort());
});
