/** @file Which convolutions become blocks, which batch norm goes along, and what is left alone with which reason. */

import { describe, expect, test } from "vitest";
import { normal, tensorOf } from "../../../test/support/random-conv-net.ts";
import type { DType, FloatDType } from "../../core/dtype.ts";
import { createRng } from "../../core/rng.ts";
import { createGraphBuilder, type GraphBuilder } from "../../ir/builder.ts";
import { isOp, type Model } from "../../ir/graph.ts";
import { applyInsertion } from "./apply-insertion.ts";
import { type InsertionOptions, type InsertionPlan, planInsertion } from "./plan-insertion.ts";

const rng = createRng(17);

function weight(
  g: GraphBuilder,
  shape: readonly number[],
  name = "w",
  dtype: FloatDType = "float32",
): string {
  return g.initializer(name, normal(rng, shape, dtype));
}

function batchNorm(g: GraphBuilder, x: string, channels: number, attributes = {}): string {
  const vectors = [0, 1, 2, 3].map((i) =>
    g.initializer(
      `bn${i}`,
      tensorOf([channels], "float32", () => rng.uniform(0.5, 2)),
    ),
  );
  return g.node("BatchNormalization", [x, ...vectors], attributes, "bn");
}

interface Sketch {
  readonly size?: number | string;
  readonly dtype?: DType;
  readonly opset?: number;
}

async function planOf(
  build: (g: GraphBuilder, x: string) => string,
  { size = "h", dtype = "float32", opset = 17 }: Sketch = {},
  options: InsertionOptions = {},
): Promise<{ model: Model; plan: InsertionPlan }> {
  const g = createGraphBuilder({ opset });
  const x = g.input("x", dtype, [1, 4, size, size]);
  g.output(build(g, x), dtype, undefined);
  const model = g.build();
  return { model, plan: await planInsertion(model, options) };
}

describe("the batch norm that is used next", () => {
  test("goes into the block, though another is registered between", async () => {
    const { plan } = await planOf((g, x) => {
      const a = g.node(
        "Conv",
        [x, weight(g, [4, 4, 3, 3], "a.weight")],
        { pads: [1, 1, 1, 1] },
        "a",
      );
      const b = g.node(
        "Conv",
        [x, weight(g, [4, 4, 3, 3], "b.weight")],
        { pads: [1, 1, 1, 1] },
        "b",
      );
      const afterB = batchNorm(g, b, 4);
      const afterA = batchNorm(g, a, 4);
      return g.node("Add", [afterA, afterB]);
    });
    expect(plan.insertions.map(({ found }) => [found.name, found.batchNorm?.inputs[0]])).toEqual([
      ["a", "a"],
      ["b", "b"],
    ]);
  });

  test.each([
    [
      "is not registered next but read through an activation",
      (g: GraphBuilder, y: string) => batchNorm(g, g.node("Relu", [y]), 4),
    ],
    [
      "shares the convolution's output with another reader",
      (g: GraphBuilder, y: string) => g.node("Add", [batchNorm(g, y, 4), y]),
    ],
    [
      "is in training mode",
      (g: GraphBuilder, y: string) => batchNorm(g, y, 4, { training_mode: 1 }),
    ],
  ] as const)("stays when it %s", async (_, after) => {
    const { plan, model } = await planOf((g, x) =>
      after(g, g.node("Conv", [x, weight(g, [4, 4, 3, 3])], { pads: [1, 1, 1, 1] }, "c")),
    );
    expect(plan.insertions.map(({ found }) => found.batchNorm)).toEqual([undefined]);
    const norms = applyInsertion(model, plan).model.graph.nodes.filter((node) =>
      isOp(node, "BatchNormalization"),
    );
    // Its own three and the one that stayed.
    expect(norms).toHaveLength(4);
  });

  test("stays when the convolution's output is an output of the graph", async () => {
    const g = createGraphBuilder();
    const x = g.input("x", "float32", [1, 4, "h", "w"]);
    const y = g.node("Conv", [x, weight(g, [4, 4, 3, 3])], { pads: [1, 1, 1, 1] }, "c");
    g.output(y, "float32", undefined);
    g.output(batchNorm(g, y, 4), "float32", undefined);
    const model = g.build();
    const plan = await planInsertion(model);
    expect(plan.insertions.map(({ found }) => found.batchNorm)).toEqual([undefined]);
    const { graph } = applyInsertion(model, plan).model;
    expect(graph.outputs.map(({ name }) => name)).toEqual(model.graph.outputs.map((o) => o.name));
  });
});

describe("left alone, with the reason", () => {
  test.each([
    [
      "transposed",
      (g: GraphBuilder, x: string) => g.node("ConvTranspose", [x, weight(g, [4, 4, 3, 3])]),
      {},
      "transposed",
    ],
    [
      "a weight made while the model runs",
      (g: GraphBuilder, x: string) =>
        g.node("Conv", [x, g.node("Mul", [g.input("w", "float32", [4, 4, 3, 3]), x])]),
      {},
      "computed while the model runs",
    ],
    [
      "half precision",
      (g: GraphBuilder, x: string) => g.node("Conv", [x, weight(g, [4, 4, 3, 3], "w", "float16")]),
      { dtype: "float16" },
      "float16",
    ],
    [
      "automatic padding with a stride and an open size",
      (g: GraphBuilder, x: string) =>
        g.node("Conv", [x, weight(g, [4, 4, 3, 3])], { auto_pad: "SAME_UPPER", strides: [2, 2] }),
      {},
      "depends on the input size",
    ],
  ] as const)("%s", async (_, build, sketch, reason) => {
    const { plan } = await planOf(build, sketch);
    expect(plan.insertions).toEqual([]);
    expect(plan.leftAlone).toHaveLength(1);
    expect(plan.leftAlone[0]!.reason).toContain(reason);
  });

  test("pointwise convolutions are no candidates", async () => {
    const { plan } = await planOf((g, x) => g.node("Conv", [x, weight(g, [4, 4, 1, 1])]));
    expect([plan.insertions, plan.leftAlone]).toEqual([[], []]);
  });

  test("a cross has no sense for a single row", async () => {
    const row = (g: GraphBuilder, x: string): string =>
      g.node("Conv", [x, weight(g, [4, 4, 1, 3])], { pads: [0, 1, 0, 1] });
    const { plan } = await planOf(row, {}, { block: "acnet" });
    expect(plan.leftAlone[0]!.reason).toContain("single row or column");
    // But a RepVGG block has.
    expect((await planOf(row)).plan.insertions).toHaveLength(1);
  });
});

test("automatic padding is resolved where stride or size say it", async () => {
  const conv =
    (attributes: object) =>
    (g: GraphBuilder, x: string): string =>
      g.node("Conv", [x, weight(g, [4, 4, 3, 3])], { ...attributes });
  const pads = async (attributes: object, size: number | string): Promise<number[]> => {
    const { plan } = await planOf(conv(attributes), { size });
    return plan.insertions[0]!.found.target.geometry.axes.flatMap((a) => [a.beginPad, a.endPad]);
  };
  expect(await pads({ auto_pad: "SAME_UPPER" }, "h")).toEqual([1, 1, 1, 1]);
  // Length 8, stride 2: 4 outputs need 2·3 + 3 = 9 rows, one more than there are; it goes to the end.
  expect(await pads({ auto_pad: "SAME_UPPER", strides: [2, 2] }, 8)).toEqual([0, 1, 0, 1]);
  expect(await pads({ auto_pad: "SAME_LOWER", strides: [2, 2] }, 8)).toEqual([1, 0, 1, 0]);
  expect(await pads({ auto_pad: "VALID" }, "h")).toEqual([0, 0, 0, 0]);
});

test("only convolutions that the pattern names, by module or by node", async () => {
  const two = (g: GraphBuilder, x: string): string => {
    const a = g.node("Conv", [x, weight(g, [4, 4, 3, 3], "body.0.weight")], {}, "/body/0/Conv");
    return g.node("Conv", [a, weight(g, [4, 4, 3, 3], "head.weight")], {}, "/head/Conv");
  };
  const names = async (match: string): Promise<string[]> =>
    (await planOf(two, {}, { match })).plan.insertions.map(({ found }) => found.name);
  expect(await names("body.*")).toEqual(["body.0"]);
  expect(await names("/head/*")).toEqual(["head"]);
  expect(await names("nothing")).toEqual([]);
});

test("a shared weight makes two blocks with tensors of their own, and goes when both are replaced", async () => {
  const { model, plan } = await planOf((g, x) => {
    const w = weight(g, [4, 4, 3, 3], "shared.weight");
    const a = g.node("Relu", [g.node("Conv", [x, w], { pads: [1, 1, 1, 1] }, "a")]);
    return g.node("Conv", [a, w], { pads: [1, 1, 1, 1] }, "b");
  });
  expect(plan.insertions.map(({ found }) => found.name)).toEqual(["shared", "shared_1"]);
  const both = applyInsertion(model, plan).model.graph.initializers;
  expect(both.has("shared.weight")).toBe(false);
  const one = { ...plan, insertions: plan.insertions.slice(0, 1) };
  expect(applyInsertion(model, one).model.graph.initializers.has("shared.weight")).toBe(true);
});

test("weights in Constant nodes leave with them", async () => {
  const { model, plan } = await planOf((g, x) => {
    const w = g.node("Constant", [], { value: normal(rng, [4, 4, 3, 3], "float32") });
    return g.node("Conv", [x, w], { pads: [1, 1, 1, 1] }, "c");
  });
  const { graph } = applyInsertion(model, plan).model;
  expect(graph.nodes.some((node) => isOp(node, "Constant"))).toBe(false);
});

test("before IR version 4 the new constants are inputs as well", async () => {
  const { model, plan } = await planOf((g, x) => g.node("Conv", [x, weight(g, [4, 4, 3, 3])]), {
    opset: 8,
  });
  const listed = [...model.graph.initializers].map(([name, { dtype, shape }]) => ({
    name,
    dtype,
    shape,
  }));
  const old = { ...model, irVersion: 3 };
  const graph = { ...model.graph, inputs: [...model.graph.inputs, ...listed] };
  const { model: inserted } = applyInsertion({ ...old, graph }, plan);
  const inputs = new Set(inserted.graph.inputs.map(({ name }) => name));
  expect([...inserted.graph.initializers.keys()].filter((name) => !inputs.has(name))).toEqual([]);
  expect(inputs.has("w")).toBe(false);
});

test("nothing to insert changes nothing", async () => {
  const { model, plan } = await planOf((g, x) => g.node("Relu", [x]));
  expect(applyInsertion(model, plan)).toEqual({ model, modified: false, insertions: [] });
});

test("a plan for another model is refused", async () => {
  const build = (g: GraphBuilder, x: string): string =>
    g.node("Conv", [x, weight(g, [4, 4, 3, 3])], { pads: [1, 1, 1, 1] });
  const { plan } = await planOf(build);
  const { model: other } = await planOf(build);
  expect(() => applyInsertion(other, plan)).toThrow("is not in the graph");
});

test.each([
  [{ block: "resnet" as "repvgg" }, "there is no block"],
  [{ share: 0 }, "share"],
  [{ share: 2 }, "share"],
  [{ seed: 0.5 }, "whole number"],
  [{ branches: 0 }, "1 to 16"],
  [{ branches: 17 }, "1 to 16"],
])("options out of range: %j", async (options, message) => {
  await expect(planInsertion(createGraphBuilder().build(), options)).rejects.toThrow(message);
});

test("the same seed gives the same bytes, another one other bytes", async () => {
  const { model } = await planOf((g, x) =>
    g.node("Conv", [x, weight(g, [4, 4, 3, 3])], { pads: [1, 1, 1, 1] }),
  );
  const bytes = async (seed: number): Promise<string> => {
    const { model: inserted } = applyInsertion(model, await planInsertion(model, { seed }));
    const parts: string[] = [];
    for (const [name, tensor] of inserted.graph.initializers) {
      parts.push(`${name} ${[...(await tensor.read())].join(",")}`);
    }
    return parts.join("\n");
  };
  expect(await bytes(1)).toBe(await bytes(1));
  expect(await bytes(1)).not.toBe(await bytes(2));
});
