import { expect, test } from "vitest";
import { expectFused } from "../../test/support/fuse-check.ts";
import {
  conv,
  dyadicNorm,
  float32,
  graphOf,
  int64,
  type Parts,
} from "../../test/support/graph-parts.ts";
import { lazyTensor, readFloat64, tensor } from "../core/tensor.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import type { Model } from "../ir/graph.ts";
import { applyPlan } from "./apply.ts";
import { cleanModel } from "./clean.ts";
import { planReparam } from "./plan.ts";

const DENSE = { inC: 4, outC: 4, kernel: [3, 3], pads: [1, 1, 1, 1] };

/** A RepVGG block with PyTorch's names. */
function repvgg(parts: Parts, x: string, prefix: string): string {
  const { g } = parts;
  const dense = conv(parts, x, { ...DENSE, name: `${prefix}.rbr_dense.conv` });
  const pointwise = conv(parts, x, { inC: 4, outC: 4, name: `${prefix}.rbr_1x1.conv` });
  const branches = [
    dyadicNorm(parts, dense, 4, `${prefix}.rbr_dense.bn`),
    dyadicNorm(parts, pointwise, 4, `${prefix}.rbr_1x1.bn`),
    dyadicNorm(parts, x, 4, `${prefix}.rbr_identity`),
  ];
  const sum = g.node("Add", [branches[0]!, branches[1]!]);
  return g.node("Relu", [g.node("Add", [sum, branches[2]!])]);
}

const twoBlocks = (): Model =>
  graphOf((parts, x) => repvgg(parts, repvgg(parts, x, "stage1.0"), "stage1.1"));

test("blocks become convolutions named for what their kernels have in common", async () => {
  const fused = await expectFused(twoBlocks(), 2);
  const { graph } = fused.model;
  expect(graph.nodes.map((node) => [node.opType, node.name])).toEqual([
    ["Conv", "stage1.0.fused"],
    ["Relu", expect.any(String)],
    ["Conv", "stage1.1.fused"],
    ["Relu", expect.any(String)],
  ]);
  expect([...graph.initializers.keys()]).toEqual([
    "stage1.0.fused.weight",
    "stage1.0.fused.bias",
    "stage1.1.fused.weight",
    "stage1.1.fused.bias",
  ]);
  expect(graph.initializers.get("stage1.0.fused.weight")!.shape).toEqual([4, 4, 3, 3]);
  expect(fused.regions.map(({ node, weight }) => [node, weight])).toEqual([
    ["stage1.0.fused", "stage1.0.fused.weight"],
    ["stage1.1.fused", "stage1.1.fused.weight"],
  ]);
});

test("the model that is fused stays as it was", async () => {
  const model = twoBlocks();
  const before = [
    ...model.graph.initializers.keys(),
    ...model.graph.nodes.map((node) => node.name),
  ];
  applyPlan(model, await planReparam(model));
  expect([
    ...model.graph.initializers.keys(),
    ...model.graph.nodes.map((node) => node.name),
  ]).toEqual(before);
});

test("equal models give equal models", async () => {
  const [a, b] = [twoBlocks(), twoBlocks()];
  const [x, y] = [
    applyPlan(a, await planReparam(a)).model,
    applyPlan(b, await planReparam(b)).model,
  ];
  expect(JSON.stringify(x.graph.nodes)).toBe(JSON.stringify(y.graph.nodes));
  for (const [name, stored] of x.graph.initializers) {
    expect(await stored.read()).toEqual(await y.graph.initializers.get(name)!.read());
  }
});

test("any range of a fused tensor is the same as in the whole", async () => {
  const { model } = await expectFused(twoBlocks(), 2);
  const weight = model.graph.initializers.get("stage1.0.fused.weight")!;
  const all = await weight.read();
  for (const [start, end] of [
    [0, 1],
    [35, 37],
    [10, 100],
    [143, 144],
    [7, 7],
  ] as const) {
    expect(await weight.read(start, end)).toEqual(all.slice(4 * start, 4 * end));
  }
});

test("a plan of another model is refused", async () => {
  const plan = await planReparam(twoBlocks());
  expect(() => applyPlan(twoBlocks(), plan)).toThrow(
    "applyPlan: node stage1.0.rbr_dense.conv of the plan is not in the model. Plan the same model object that is applied.",
  );
});

test("constants that others read stay, with their values", async () => {
  const model = graphOf((parts, x) => {
    const block = repvgg(parts, x, "a");
    const scaled = parts.g.node("Mul", [block, parts.g.node("Relu", ["a.rbr_identity.weight"])]);
    const other = parts.g.node("Sigmoid", ["a.rbr_dense.bn.running_var"]);
    return [scaled, other];
  });
  const plan = await planReparam(model);
  const { graph } = applyPlan(model, plan).model;
  expect(graph.initializers.has("a.rbr_identity.weight")).toBe(true);
  expect(graph.initializers.get("a.rbr_dense.bn.running_var")).toBe(
    model.graph.initializers.get("a.rbr_dense.bn.running_var"),
  );
  expect(graph.initializers.has("a.rbr_dense.bn.running_mean")).toBe(false);
});

test("a block applied twice is stored once", async () => {
  const model = graphOf((parts, x) => {
    const weight = parts.g.initializer("w", float32([4, 4, 1, 1], Array<number>(16).fill(2)));
    const statistics = ["bn.a", "bn.b", "bn.c"].map((name) =>
      parts.g.initializer(name, float32([4], [1, 2, 3, 4])),
    );
    const variance = parts.g.initializer("bn.d", float32([4], [1, 4, 16, 1]));
    const head = (value: string): string => {
      const inner = parts.g.node("Conv", [value, weight]);
      const norm = parts.g.node("BatchNormalization", [inner, ...statistics, variance], {
        epsilon: { float: 0 },
      });
      return parts.g.node("Relu", [norm]);
    };
    return [head(x), head(parts.g.node("Neg", [parts.g.node("Relu", [x])]))];
  });
  const plan = await planReparam(model);
  // The second head takes the Neg before it along, so it is another computation and its kernel another one.
  expect(plan.regions).toHaveLength(0);
  const same = graphOf((parts, x) => {
    const first = repvgg(parts, x, "a");
    return parts.g.node("Relu", [first]);
  });
  const { graph } = same;
  const again = graph.nodes.slice(0, -1).map((node) => ({
    ...node,
    name: `${node.name}.again`,
    inputs: node.inputs.map((input) =>
      input === "x"
        ? graph.nodes.at(-1)!.outputs[0]!
        : graph.initializers.has(input)
          ? input
          : `${input}.again`,
    ),
    outputs: node.outputs.map((output) => `${output}.again`),
  }));
  const end = again.at(-1)!.outputs[0]!;
  const twice: Model = {
    ...same,
    graph: {
      ...graph,
      nodes: [...graph.nodes, ...again],
      outputs: [{ ...graph.outputs[0]!, name: end }],
    },
  };
  const fused = await expectFused(twice, 2);
  const convs = fused.model.graph.nodes.filter((node) => node.opType === "Conv");
  expect(convs[0]!.inputs.slice(1)).toEqual(convs[1]!.inputs.slice(1));
  expect(fused.model.graph.initializers.size).toBe(2);
  expect(fused.plan.after.parameters).toBe(4 * 4 * 9 + 4);
});

test.each([9, 13])(
  "a crop larger than the padding is a Slice before it (opset %i)",
  async (opset) => {
    const model = graphOf(
      (parts, x) => {
        const inner = conv(parts, x, DENSE);
        if (opset < 10) {
          const bounds = { starts: [3], ends: [-2], axes: [2] };
          return parts.g.node("Slice", [inner], bounds);
        }
        return parts.g.node("Slice", [
          inner,
          int64(parts, [3]),
          int64(parts, [-2]),
          int64(parts, [2]),
        ]);
      },
      { opset },
    );
    const fused = await expectFused(model, 1, { sizes: [9, 6] });
    expect(fused.model.graph.nodes.map((node) => node.opType)).toEqual(["Slice", "Conv"]);
    // Crops 3 and 2 less the padding of 1: two rows and one.
    expect(fused.plan.regions[0]!.emission).toMatchObject({
      beginCrops: [2, 0],
      endCrops: [1, 0],
      beginPads: [0, 1],
      endPads: [0, 1],
    });
  },
);

test("before IR version 4 every constant is an input, the new ones too", async () => {
  const block = twoBlocks();
  const listed = [...block.graph.initializers].map(([name, { dtype, shape }]) => ({
    name,
    dtype,
    shape,
  }));
  const old: Model = {
    ...block,
    irVersion: 3,
    opsets: new Map([["", 8]]),
    graph: { ...block.graph, inputs: [...block.graph.inputs, ...listed] },
  };
  const { model } = await expectFused(old, 2);
  const names = model.graph.inputs.map((input) => input.name);
  expect(names).toEqual(["x", ...model.graph.initializers.keys()]);
});

test("a Gemm without bias has one of zeros before opset 11", async () => {
  const layer = (opset: number): Model =>
    graphOf(
      (parts, x) => {
        const matrix = parts.g.initializer("w", float32([2, 4], [1, 2, 3, 4, 5, 6, 7, 8]));
        const zero = parts.g.initializer("zero", float32([2], [0, 0]));
        const inputs = opset < 11 ? [x, matrix, zero] : [x, matrix];
        return parts.g.node("Neg", [parts.g.node("Gemm", inputs, { transB: 1 })]);
      },
      { opset, sizes: [] },
    );
  const old = await expectFused(layer(9), 1, { sizes: [] });
  expect(old.model.graph.nodes[0]!.inputs).toHaveLength(3);
  const modern = await expectFused(layer(13), 1, { sizes: [] });
  expect(modern.model.graph.nodes[0]!.inputs).toHaveLength(2);
});

test("float16 models stay float16, rounded once", async () => {
  const half = (shape: readonly number[], bits: number): ReturnType<typeof float32> => {
    const count = shape.reduce((a, b) => a * b, 1);
    return lazyTensor(tensor("float16", shape, new Uint16Array(count).fill(bits)));
  };
  const g = createGraphBuilder();
  const x = g.input("x", "float16", ["batch", 2, "h", "w"]);
  const inner = g.node("Conv", [x, g.initializer("w", half([2, 2, 1, 1], 0x3c01))]); // 1 + 2⁻¹⁰
  const side = g.node("Conv", [x, g.initializer("v", half([2, 2, 1, 1], 0x3c01))]);
  g.output(g.node("Add", [inner, side]), "float16", undefined);
  const model = g.build();
  const { regions, model: after } = applyPlan(model, await planReparam(model));
  const weight = after.graph.initializers.get(regions[0]!.weight)!;
  expect(weight.dtype).toBe("float16");
  expect([...(await readFloat64(weight))]).toEqual(Array<number>(4).fill(2 + 2 ** -9));
});

test("a Cast to another type ends the region", async () => {
  const model = graphOf((parts, x) => {
    const inner = parts.g.node("Cast", [conv(parts, x, DENSE)], { to: 10 });
    return parts.g.node("Cast", [parts.g.node("Neg", [inner])], { to: 1 });
  });
  expect((await planReparam(model)).regions).toEqual([]);
});

test("subgraphs are left alone, and what they capture stays", async () => {
  const body = createGraphBuilder();
  const inside = body.node("Conv", ["x", "a.rbr_dense.conv.weight"], { pads: [1, 1, 1, 1] });
  body.output(inside, "float32", undefined);
  const branch = body.buildGraph();
  const model = graphOf((parts, x) => {
    const block = repvgg(parts, x, "a");
    const condition = parts.g.input("condition", "bool", []);
    const chosen = parts.g.node("If", [condition], { then_branch: branch, else_branch: branch });
    return [block, chosen];
  });
  // Fusing would store the captured kernel beside the fused one.
  expect((await planReparam(model)).refusals.map(({ reason }) => reason)).toEqual([
    expect.stringMatching(/^its kernel a.rbr_dense.conv.weight is also used by If_/),
  ]);
  const plan = await planReparam(model, { allowCostlier: true });
  const after = cleanModel(applyPlan(model, plan).model).model.graph;
  expect(after.nodes.map((node) => node.opType)).toEqual(["Conv", "Relu", "If"]);
  expect(after.initializers.has("a.rbr_dense.conv.weight")).toBe(true);
  const kept = after.nodes.at(-1)!.attributes.get("then_branch");
  expect(kept).toEqual({ type: "graph", value: branch });
});

test("three gigabytes of weights are planned and applied without reading one", async () => {
  let reads = 0;
  const weight = (shape: readonly number[]): ReturnType<typeof float32> => ({
    dtype: "float32",
    shape,
    read: async () => {
      reads++;
      throw new Error("read");
    },
  });
  const channels = 2 ** 14;
  const model = graphOf(
    (parts, x) => {
      const { g } = parts;
      const dense = g.node(
        "Conv",
        [x, g.initializer("dense", weight([channels, channels, 1, 3]))],
        { pads: [0, 1, 0, 1] },
      );
      const side = g.node("Conv", [x, g.initializer("side", weight([channels, channels, 1, 1]))]);
      return g.node("Add", [dense, side]);
    },
    { channels },
  );
  const applied = applyPlan(model, await planReparam(model));
  expect(applied.regions).toHaveLength(1);
  expect(applied.model.graph.initializers.get(applied.regions[0]!.weight)!.shape).toEqual([
    channels,
    channels,
    1,
    3,
  ]);
  expect(reads).toBe(0);
});

test("a Cast of a value whose type nobody knows ends the region before it", async () => {
  const half = lazyTensor(tensor("float16", [4, 4, 1, 1], new Uint16Array(16).fill(0x3c00)));
  const model = graphOf(
    ({ g }, x) => {
      const unknown = g.node("Custom", [x], {}, "unknown", "com.example");
      const cast = g.node("Cast", [unknown], { to: 10 }, "cast");
      return g.node("Neg", [g.node("Conv", [cast, g.initializer("w", half)])]);
    },
    { domains: new Map([["com.example", 1]]) },
  );
  expect((await planReparam(model)).regions.map(({ input }) => input)).toEqual(["cast"]);
});
