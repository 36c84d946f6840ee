import { describe, expect, test } from "vitest";
import { encodeFloat64 } from "../core/dtype.ts";
import { createRng } from "../core/rng.ts";
import {
  float32Tensor,
  int64Tensor,
  type LazyTensor,
  lazyTensor,
  type Tensor,
} from "../core/tensor.ts";
import { loadNodeRuntime } from "../host/ort-node.ts";
import { createGraphBuilder, type GraphBuilder } from "../ir/builder.ts";
import type { Model } from "../ir/graph.ts";
import { lowerToFloat64 } from "./lower-float64.ts";
import { createReference } from "./reference.ts";

const f32 = (shape: number[], values: number[]): LazyTensor =>
  lazyTensor(float32Tensor(shape, values));
const i64 = (...values: number[]): LazyTensor => lazyTensor(int64Tensor([values.length], values));

function build(
  opset: number,
  dims: readonly (number | string)[],
  body: (g: GraphBuilder, x: string) => string,
): Model {
  const g = createGraphBuilder({ opset });
  const y = body(g, g.input("x", "float32", dims));
  g.output(y, "float32", undefined);
  return g.build();
}

async function run(model: Model, shape: number[], values: number[]): Promise<number[]> {
  const reference = await createReference(model, await loadNodeRuntime(), new Map([["x", shape]]));
  const results = await reference.run(new Map([["x", Float64Array.from(values)]]));
  await reference.release();
  return [...results.values()][0]!.data as unknown as number[];
}

async function refusal(model: Model): Promise<unknown> {
  return await lowerToFloat64(model, await loadNodeRuntime(), new Map()).then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe("lowerToFloat64", () => {
  test("makes inputs, outputs and parameters double and keeps every name", async () => {
    const model = build(13, [1, 1, 2, 2], (g, x) => {
      const w = g.initializer("w", f32([1, 1, 1, 1], [0.1]));
      return g.node("Relu", [g.node("Conv", [x, w], {}, "inner")], {}, "y");
    });
    const { graph, opsets } = await lowerToFloat64(model, await loadNodeRuntime(), new Map());
    expect(graph.inputs.map((v) => [v.name, v.dtype])).toEqual([["x", "float64"]]);
    expect(graph.outputs.map((v) => [v.name, v.dtype])).toEqual([["y", "float64"]]);
    expect(graph.nodes.flatMap((node) => node.outputs)).toContain("inner");
    expect(opsets.get("")).toBe(17);
    const floats = [...graph.initializers.values()].filter((t) => t.dtype !== "int64");
    expect(floats.map((t) => t.dtype)).toEqual(["float64"]);
    // 0.1 as float32, exactly, in double.
    expect([...new Float64Array((await floats[0]!.read()).slice().buffer)]).toEqual([
      Math.fround(0.1),
    ]);
  });

  test("casts between float types vanish: no rounding to float16 in between", async () => {
    const model = build(13, [1], (g, x) => {
      const half = g.node("Cast", [x], { to: 10 }, "half");
      return g.node("Cast", [half], { to: 1 }, "y");
    });
    expect([...(await run(model, [1], [1 + 2 ** -40]))]).toEqual([1 + 2 ** -40]);
  });

  test("float16 models: parameters are cast up exactly", async () => {
    const g = createGraphBuilder({ opset: 13 });
    const x = g.input("x", "float16", [1, 2]);
    const values = Float64Array.of(0.1, -3, 65504, 2 ** -24);
    const bytes = encodeFloat64(values, "float16");
    const w: Tensor = { dtype: "float16", shape: [2, 2], bytes };
    g.output(g.node("MatMul", [x, g.initializer("w", lazyTensor(w))], {}, "y"), "float16", [1, 2]);
    const y = await run(g.build(), [1, 2], [1, 1]);
    // 0.1 in float16 is 0.0999755859375.
    expect([...y]).toEqual([0.0999755859375 + 65504, -3 + 2 ** -24]);
  });

  test("integer and shape computations stay", async () => {
    const model = build(13, ["n", 3, 2], (g, x) => {
      const shape = g.node("Shape", [x]);
      const first = g.node("Gather", [shape, g.initializer("zero", i64(0))]);
      const rest = g.node("Mul", [g.initializer("three", i64(3)), g.initializer("two", i64(2))]);
      return g.node("Reshape", [x, g.node("Concat", [first, rest], { axis: 0 })], {}, "y");
    });
    expect([...(await run(model, [1, 3, 2], [1, 2, 3, 4, 5, 6]))]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("integers become double where the graph casts them", async () => {
    const model = build(13, [2, 3], (g, x) => {
      const size = g.node("Cast", [g.node("Size", [x])], { to: 1 });
      return g.node("Div", [x, size], {}, "y");
    });
    // 1/6 in double, not in float32.
    expect((await run(model, [2, 3], [1, 0, 0, 0, 0, 0]))[0]).toBe(1 / 6);
  });

  test("Constant nodes and ConstantOfShape are float64", async () => {
    const model = build(13, [2], (g, x) => {
      const ten = g.node("Constant", [], { value_float: { float: 0.1 } }, "tenth");
      const list = g.node("Constant", [], { value_floats: { floats: [1, 2] } });
      const filler = g.node("ConstantOfShape", [g.node("Shape", [x])], { value: f32([1], [0.5]) });
      const zeros = g.node("ConstantOfShape", [g.node("Shape", [x])]);
      return g.node("Sum", [x, ten, list, filler, zeros], {}, "y");
    });
    const tenth = Math.fround(0.1);
    expect([...(await run(model, [2], [0, 0]))]).toEqual([tenth + 1 + 0.5, tenth + 2 + 0.5]);
  });

  test("comparisons and masks keep their kinds", async () => {
    const model = build(13, [3], (g, x) => {
      const mask = g.node("Greater", [x, g.initializer("limit", f32([], [1]))]);
      const dropped = g.node("Dropout", [
        g.node("Where", [mask, x, g.initializer("none", f32([], [0]))]),
      ]);
      return g.node("Mul", [dropped, g.node("Cast", [mask], { to: 1 })], {}, "y");
    });
    expect([...(await run(model, [3], [1, 2, 3]))]).toEqual([0, 2, 3]);
  });

  test("old forms (opset 9): attributes that are inputs today", async () => {
    const model = build(9, [1, 2, 3], (g, x) => {
      const padded = g.node("Pad", [x], { pads: [0, 0, 1, 0, 0, 0], value: { float: 7 } });
      const sliced = g.node("Slice", [padded], { starts: [0], ends: [3], axes: [2] });
      const clipped = g.node("Clip", [sliced], { min: { float: 0 }, max: { float: 5 } });
      const flat = g.node("Squeeze", [clipped], { axes: [0] });
      const deep = g.node("Unsqueeze", [flat], { axes: [0] });
      const [left, right] = g.nodeWithOutputs("Split", [deep], 2, { axis: 1, split: [1, 1] });
      const total = g.node("ReduceSum", [left!], { axes: [2], keepdims: 1 });
      return g.node("Add", [total, right!], {}, "y");
    });
    // Padded rows: 7 1 2 3 and 7 4 5 6; sliced: 7 1 2, 7 4 5; clipped: 5 1 2, 5 4 5; 8 + the second row.
    expect([...(await run(model, [1, 2, 3], [1, 2, 3, 4, 5, 6]))]).toEqual([13, 12, 13]);
  });

  test("Softmax before opset 13 runs over all axes from its own on", async () => {
    const model = build(11, [1, 2, 2], (g, x) => g.node("Softmax", [x], { axis: 1 }, "y"));
    const found = await run(model, [1, 2, 2], [0, 1, 2, 3]);
    const powers = [0, 1, 2, 3].map(Math.exp);
    const total = powers.reduce((a, b) => a + b, 0);
    powers.forEach((p, i) => {
      // exp, sum of four, division, on both sides: 16 u.
      expect(Math.abs(found[i]! - p / total)).toBeLessThan(16 * 2 ** -53);
    });
  });

  test("an operator without a float64 form is refused by name and node", async () => {
    const model = build(13, [1, 2, 4, 4], (g, x) => g.node("LRN", [x], { size: 3 }, "norm"));
    expect(await refusal(model)).toMatchObject({
      tag: "refused",
      where: 'LRN "norm"',
      message: expect.stringContaining("no double kernel and no rewriting"),
    });
  });

  test("other domains and nodes with graphs of their own are refused", async () => {
    const foreign = createGraphBuilder({ domains: new Map([["com.microsoft", 1]]) });
    const x = foreign.input("x", "float32", [2]);
    foreign.output(foreign.node("Gelu", [x], {}, "y", "com.microsoft"), "float32", [2]);
    expect(await refusal(foreign.build())).toMatchObject({ tag: "refused", where: 'Gelu "y"' });
    const branch = createGraphBuilder();
    branch.output(branch.initializer("v", f32([1], [1])), "float32", [1]);
    const model = build(17, [1], (g, input) => {
      const condition = g.node("Cast", [input], { to: 9 });
      const body = branch.buildGraph();
      return g.node("If", [condition], { then_branch: body, else_branch: body }, "y");
    });
    expect(await refusal(model)).toMatchObject({ tag: "refused", where: 'If "y"' });
  });

  test("random numbers are refused", async () => {
    const model = build(17, [2], (g, x) => {
      const noise = g.node("RandomUniform", [], { shape: [2] }, "noise");
      return g.node("Add", [x, noise], {}, "y");
    });
    expect(await refusal(model)).toMatchObject({ tag: "refused", where: 'RandomUniform "noise"' });
  });

  test("an input whose shape nobody gives is named", async () => {
    const model = build(17, ["n", 2], (g, x) => g.node("GlobalAveragePool", [x], {}, "y"));
    expect(await refusal(model)).toMatchObject({ tag: "usage", where: 'input "x"' });
    const runtime = await loadNodeRuntime();
    await expect(lowerToFloat64(model, runtime, new Map([["x", [1, 3]]]))).rejects.toThrow(
      'input "x": shape is [1, 3], the model has [n, 2]',
    );
  });

  test("a weight that the graph computes is laid out by the graph", async () => {
    const rng = createRng(1);
    const values = Array.from({ length: 2 * 2 * 9 }, () => Math.fround(rng.uniform(-1, 1)));
    const image = Array.from({ length: 2 * 9 }, () => Math.fround(rng.uniform(-1, 1)));
    const direct = build(17, [1, 2, 3, 3], (g, x) =>
      g.node("Conv", [x, g.initializer("w", f32([2, 2, 3, 3], values))], {}, "y"),
    );
    const computed = build(17, [1, 2, 3, 3], (g, x) => {
      const half = values.map((v) => v / 2);
      const w = g.node("Mul", [
        g.initializer("w", f32([2, 2, 3, 3], half)),
        g.initializer("two", f32([], [2])),
      ]);
      return g.node("Conv", [x, w], {}, "y");
    });
    const shape = [1, 2, 3, 3];
    // Halving and doubling are exact, and the products are summed in the same order.
    expect([...(await run(computed, shape, image))]).toEqual([
      ...(await run(direct, shape, image)),
    ]);
  });
});
