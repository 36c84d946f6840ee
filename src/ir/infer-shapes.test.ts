import { expect, test } from "vitest";
import { float32Tensor, int64Tensor, lazyTensor, type Tensor } from "../core/tensor.ts";
import { type AttributeInputs, createGraphBuilder, type GraphBuilder } from "./builder.ts";
import type { Dim } from "./graph.ts";
import { inferShapes } from "./infer-shapes.ts";

const zeros = (...shape: number[]): Tensor =>
  float32Tensor(shape, Array(shape.reduce((all, n) => all * n, 1)).fill(0));
const ints = (...values: number[]): Tensor => int64Tensor([values.length], values);

interface Case {
  readonly op: string;
  readonly opset?: number;
  readonly x: readonly Dim[];
  /** Constant inputs after x. */
  readonly constants?: readonly Tensor[];
  readonly attributes?: AttributeInputs;
  readonly outputs?: number;
  readonly expected: readonly (readonly Dim[] | undefined)[];
}

// Expected shapes are worked out by hand from the ONNX operator specification.
const cases: readonly Case[] = [
  // floor((7 + 2 − 2·(3 − 1) − 1) / 2) + 1 = 3
  {
    op: "Conv",
    x: ["n", 4, 7, "w"],
    constants: [zeros(6, 2, 3, 3)],
    attributes: { strides: [2, 1], pads: [1, 1, 1, 1], dilations: [2, 1], group: 2 },
    expected: [["n", 6, 3, "w"]],
  },
  // SAME: ceil(7 / 2) = 4
  {
    op: "Conv",
    x: [1, 1, 7],
    constants: [zeros(1, 1, 3)],
    attributes: { auto_pad: "SAME_UPPER", strides: [2] },
    expected: [[1, 1, 4]],
  },
  // 2·(5 − 1) + 1 + 3 − 1 − 1 = 10 and group 2: 3·2 channels
  {
    op: "ConvTranspose",
    x: [1, 4, 5],
    constants: [zeros(4, 3, 3)],
    attributes: { strides: [2], pads: [1, 1], output_padding: [1], group: 2 },
    expected: [[1, 6, 10]],
  },
  // ceil((6 − 3) / 2) + 1 = 3 with ceil_mode, 2 without
  {
    op: "MaxPool",
    x: [1, 2, 6, 6],
    attributes: { kernel_shape: [3, 3], strides: [2, 2], ceil_mode: 1 },
    outputs: 2,
    expected: [
      [1, 2, 3, 3],
      [1, 2, 3, 3],
    ],
  },
  // ceil((4 + 2 − 3) / 3) + 1 = 2; it starts at 3, inside of 4 + 1
  {
    op: "AveragePool",
    x: [1, 2, 4],
    attributes: { kernel_shape: [3], strides: [3], pads: [1, 1], ceil_mode: 1 },
    expected: [[1, 2, 2]],
  },
  // ceil((3 + 2 − 1) / 3) + 1 = 3 windows; the third would start at 6 ≥ 3 + 1 and is left out
  {
    op: "AveragePool",
    x: [1, 2, 3],
    attributes: { kernel_shape: [1], strides: [3], pads: [1, 1], ceil_mode: 1 },
    expected: [[1, 2, 2]],
  },
  { op: "GlobalAveragePool", x: ["n", 8, 5, 5], expected: [["n", 8, 1, 1]] },
  { op: "Add", x: ["n", 1, 4], constants: [zeros(3, 1)], expected: [["n", 3, 4]] },
  { op: "Greater", x: [2, 3], constants: [zeros(3)], expected: [[2, 3]] },
  { op: "Flatten", x: ["n", 3, 4], expected: [["n", 12]] },
  { op: "Flatten", x: [2, 3, 4], attributes: { axis: 0 }, expected: [[1, 24]] },
  { op: "Reshape", x: ["n", 6, 4], constants: [ints(0, -1)], expected: [["n", 24]] },
  { op: "Reshape", x: ["n", 6, 4], constants: [ints(-1, 24)], expected: [["n", 24]] },
  { op: "Reshape", x: ["n", 6], constants: [ints(-1, 4)], expected: [[undefined, 4]] },
  { op: "Transpose", x: [2, 3, 4], attributes: { perm: [2, 0, 1] }, expected: [[4, 2, 3]] },
  { op: "Transpose", x: [2, 3, 4], expected: [[4, 3, 2]] },
  {
    op: "Gemm",
    x: ["n", 8],
    constants: [zeros(5, 8)],
    attributes: { transB: 1 },
    expected: [["n", 5]],
  },
  { op: "MatMul", x: [7, 1, 2, 3], constants: [zeros(4, 3, 5)], expected: [[7, 4, 2, 5]] },
  { op: "MatMul", x: [3], constants: [zeros(3, 5)], expected: [[5]] },
  {
    op: "Slice",
    x: [2, 10],
    constants: [ints(1), ints(2 ** 40), ints(1), ints(3)],
    expected: [[2, 3]],
  },
  {
    op: "Slice",
    x: [2, 10],
    constants: [ints(-1), ints(-20), ints(1), ints(-4)],
    expected: [[2, 3]],
  },
  {
    op: "Slice",
    opset: 9,
    x: [2, 10, 4],
    attributes: { starts: [2, -3], ends: [6, -1], axes: [1, 2] },
    expected: [[2, 4, 2]],
  },
  { op: "Pad", x: ["n", 2, 5], constants: [ints(0, 0, 1, 0, 0, 2)], expected: [["n", 2, 8]] },
  { op: "Pad", opset: 10, x: [1, 2], attributes: { pads: [0, 1, 0, -2] }, expected: [[1, 1]] },
  {
    op: "Split",
    x: [2, 7],
    constants: [ints(3, 4)],
    attributes: { axis: 1 },
    outputs: 2,
    expected: [
      [2, 3],
      [2, 4],
    ],
  },
  {
    op: "Split",
    opset: 18,
    x: [7],
    attributes: { num_outputs: 2 },
    outputs: 2,
    expected: [[4], [3]],
  },
  { op: "Squeeze", x: [1, 3, 1], constants: [ints(0)], expected: [[3, 1]] },
  { op: "Squeeze", opset: 11, x: [1, 3, 1], expected: [[3]] },
  { op: "Unsqueeze", x: [3, 4], constants: [ints(0, -1)], expected: [[1, 3, 4, 1]] },
  {
    op: "ReduceMean",
    x: ["n", 3, 4],
    attributes: { axes: [-1], keepdims: 0 },
    expected: [["n", 3]],
  },
  { op: "ReduceSum", x: ["n", 3, 4], constants: [ints(1)], expected: [["n", 1, 4]] },
  { op: "ReduceMean", x: [2, 3], attributes: { keepdims: 0 }, expected: [[]] },
  { op: "ArgMax", x: ["n", 10], attributes: { axis: 1, keepdims: 0 }, expected: [["n"]] },
  {
    op: "Resize",
    x: ["n", 3, 5, 6],
    constants: [zeros(0), float32Tensor([4], [1, 1, 1.5, 2])],
    expected: [["n", 3, 7, 12]], // floor(5 · 1.5) = 7
  },
  {
    op: "DepthToSpace",
    x: ["n", 12, 2, 3],
    attributes: { blocksize: 2 },
    expected: [["n", 3, 4, 6]],
  },
  { op: "SpaceToDepth", x: [1, 3, 4, 6], attributes: { blocksize: 2 }, expected: [[1, 12, 2, 3]] },
  {
    op: "Gather",
    x: [5, 6],
    constants: [ints(1, 2, 3)],
    attributes: { axis: 1 },
    expected: [[5, 3]],
  },
  { op: "Tile", x: [2, 3], constants: [ints(1, 2)], expected: [[2, 6]] },
  { op: "Expand", x: [3, 1], constants: [ints(2, 1, 4)], expected: [[2, 3, 4]] },
  {
    op: "Concat",
    x: ["n", 2],
    constants: [zeros(1, 3)],
    attributes: { axis: 1 },
    expected: [[1, 5]],
  },
  { op: "NoSuchOperator", x: [1], expected: [undefined] },
];

function build(
  g: GraphBuilder,
  { op, x, constants = [], attributes, outputs = 1 }: Case,
): string[] {
  const names = constants.map((value, i) => g.initializer(`c${i}`, lazyTensor(value)));
  return g.nodeWithOutputs(op, [g.input("x", "float32", x), ...names], outputs, attributes, "y");
}

test.each(cases.map((c) => [`${c.op} ${JSON.stringify(c.x)}`, c] as const))("%s", async (_, c) => {
  const g = createGraphBuilder({ opset: c.opset ?? 13 });
  const outputs = build(g, c);
  const types = await inferShapes(g.build());
  expect(outputs.map((name) => types.get(name)?.shape)).toEqual(c.expected);
});

const contradictions: readonly (readonly [string, Case, string])[] = [
  [
    "channels",
    { op: "Conv", x: [1, 3, 8, 8], constants: [zeros(4, 4, 3, 3)], expected: [] },
    "y: the input has 3 channels, expected 4",
  ],
  [
    "a window longer than its input",
    { op: "Conv", x: [1, 1, 2], constants: [zeros(1, 1, 3)], expected: [] },
    "y: axis 2 has 2 elements, its window reaches over 3",
  ],
  [
    "broadcasting",
    { op: "Add", x: [2, 3], constants: [zeros(4)], expected: [] },
    "y: shapes [2, 3] and [4] do not broadcast",
  ],
  [
    "an axis out of range",
    { op: "Concat", x: [2, 3], constants: [zeros(2, 3)], attributes: { axis: 2 }, expected: [] },
    "y: axis 2, expected -2 to 1",
  ],
  [
    "element counts",
    { op: "Reshape", x: [2, 3], constants: [ints(4, 2)], expected: [] },
    "which has 8 elements, expected 6",
  ],
  [
    "factors",
    { op: "MatMul", x: [2, 3], constants: [zeros(4, 5)], expected: [] },
    "y: the factors have 3 columns and 4 rows",
  ],
];

test.each(contradictions)("a contradiction in %s names the node", async (_, c, message) => {
  const g = createGraphBuilder({ opset: 13 });
  build(g, c);
  await expect(inferShapes(g.build())).rejects.toThrow(message);
});

test("a shape that is computed in the graph is followed", async () => {
  const g = createGraphBuilder({ opset: 13 });
  const x = g.input("x", "float32", ["n", 8, 1, 1]);
  const batch = g.node("Gather", [
    g.node("Shape", [x]),
    g.initializer("zero", lazyTensor(int64Tensor([], [0]))),
  ]);
  const axes = g.initializer("axes", lazyTensor(ints(0)));
  const rest = g.initializer("rest", lazyTensor(ints(-1)));
  const target = g.node("Concat", [g.node("Unsqueeze", [batch, axes]), rest], { axis: 0 });
  const y = g.node("Reshape", [x, target]);
  expect((await inferShapes(g.build())).get(y)?.shape).toEqual(["n", 8]);
});

test("given input shapes replace the declared ones, and declared inner shapes no longer count", async () => {
  const g = createGraphBuilder();
  const x = g.input("x", "float32", ["n", 3, 224, 224]);
  const relu = g.node("Relu", [x]);
  const odd = g.node("Odd", [relu], {}, "odd", "");
  g.valueInfo(odd, "float32", [1, 3, 224, 224]);
  const declared = await inferShapes(g.build());
  expect(declared.get(odd)).toEqual({ dtype: "float32", shape: [1, 3, 224, 224] });
  const given = await inferShapes(g.build(), new Map([["x", [2, 3, 32, 32]]]));
  expect(given.get(relu)?.shape).toEqual([2, 3, 32, 32]);
  expect(given.get(odd)).toEqual({ dtype: "float32", shape: undefined });
});

test("vectors that double at every node do not grow without bound", async () => {
  const g = createGraphBuilder();
  let value = g.initializer("v", lazyTensor(ints(1, 2)));
  for (let i = 0; i < 60; i++) value = g.node("Concat", [value, value], { axis: 0 });
  const type = (await inferShapes(g.build())).get(value);
  expect(type?.shape).toEqual([2 ** 61]);
});

test("a rank that a file only claims makes no array", async () => {
  const g = createGraphBuilder();
  const x = g.input("x", "float32", [4]);
  const shape = g.input("s", "int64", [1e12]);
  const y = g.node("Reshape", [x, shape]);
  expect((await inferShapes(g.build())).get(y)?.shape).toBeUndefined();
});
