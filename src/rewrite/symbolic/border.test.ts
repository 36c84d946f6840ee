/**
 * @file Padding whose border is written afterwards, with a dynamic batch: fused when every face holds the value's
 * bias, and not when a face is missing, another number is written, or it is written elsewhere.
 */

import { expect, test } from "vitest";
import {
  conv,
  float32,
  graphOf,
  int64,
  type Parts,
  wholeTensor,
} from "../../../test/support/graph-parts.ts";
import { lazyTensor, tensor } from "../../core/tensor.ts";
import type { Model } from "../../ir/graph.ts";
import { planReparam } from "../plan.ts";

const BIAS = [2, -1, 3];

interface Wish {
  readonly faces?: readonly ("top" | "bottom" | "left" | "right")[];
  readonly values?: readonly number[];
  /** Moves the written rows or columns by one. */
  readonly shifted?: boolean;
  readonly sizes?: readonly (number | string)[];
  readonly reduction?: string;
  readonly pad?: number;
}

function scalar({ g }: Parts, value: number): string {
  return g.initializer("n", lazyTensor(tensor("int64", [], BigInt64Array.of(BigInt(value)))));
}

/** The indices 0 … length − 1 of one axis of `value`, as exporters ask for them. */
function axisRange(parts: Parts, value: string, axis: number): string {
  const { g } = parts;
  const length = g.node("Gather", [g.node("Shape", [value]), scalar(parts, axis)], { axis: 0 });
  return g.node("Range", [scalar(parts, 0), length, scalar(parts, 1)]);
}

/** `value[:, :, rows]` or `value[:, :, :, columns]` set to `constant` `[C, 1, 1]`. */
function writeFace(
  parts: Parts,
  value: string,
  constant: string,
  face: { axis: 2 | 3; start: number; end: number },
  reduction: string,
): string {
  const { g } = parts;
  const cut = (range: string): string => {
    const bounds = [face.start, face.end, 0, 1].map((n) => int64(parts, [n]));
    return g.node("Slice", [range, ...bounds]);
  };
  const ranges = [0, 1, 2, 3].map((axis) => {
    const range = axisRange(parts, value, axis);
    return axis === face.axis ? cut(range) : range;
  });
  const columns = [[-1, 1, 1, 1], [-1, 1, 1], [-1, 1], [-1]].map((shape, axis) =>
    g.node("Reshape", [ranges[axis]!, int64(parts, shape)]),
  );
  const sum = columns.slice(1).reduce((a, b) => g.node("Add", [a, b]), columns[0]!);
  const full = g.node("Shape", [sum]);
  const coordinates = columns.map((column) =>
    g.node("Unsqueeze", [g.node("Expand", [column, full]), int64(parts, [-1])]),
  );
  const indices = g.node("Concat", coordinates, { axis: -1 });
  const updates = g.node("Expand", [constant, full]);
  return g.node("ScatterND", [value, indices, updates], reduction === "none" ? {} : { reduction });
}

function dbb(wish: Wish = {}): Model {
  const {
    faces = ["top", "bottom", "left", "right"],
    values = BIAS,
    pad = 1,
    sizes = [6, 5],
  } = wish;
  return graphOf(
    (parts, x) => {
      const { g } = parts;
      const weight = g.initializer("w", wholeTensor(parts, [3, 4, 1, 1]));
      const inner = g.node(
        "Conv",
        [x, weight, g.initializer("b", float32([3], BIAS))],
        {},
        "inner",
      );
      const pads = int64(parts, [0, 0, pad, pad, 0, 0, pad, pad]);
      let value = g.node("Pad", [inner, pads], {}, "pad");
      const constant = g.initializer("border", float32([3, 1, 1], values));
      const move = wish.shifted ? 1 : 0;
      for (const face of faces) {
        const axis = face === "top" || face === "bottom" ? 2 : 3;
        const first = face === "top" || face === "left";
        const [start, end] = first ? [move, pad + move] : [-pad - move, move ? -move : 2 ** 31 - 1];
        const reduction = wish.reduction ?? "none";
        value = writeFace(parts, value, constant, { axis, start, end }, reduction);
      }
      const kernel = 2 * pad + 1;
      const wide = conv(parts, value, { inC: 3, outC: 4, kernel: [kernel, kernel], name: "wide" });
      const side = conv(parts, x, {
        inC: 4,
        outC: 4,
        kernel: [kernel, kernel],
        pads: [pad, pad, pad, pad],
        name: "side",
      });
      return g.node("Add", [wide, side], {}, "sum");
    },
    { sizes },
  );
}

test.each([1, 2])(
  "a border of width %i written with the bias is the value's own continuation",
  async (pad) => {
    const plan = await planReparam(dbb({ pad }));
    expect(plan.regions.map(({ input, output }) => [input, output])).toEqual([["x", "sum"]]);
    expect(plan.refusals).toEqual([]);
    expect(plan.after.nodes).toBe(1);
    // The same values as with our own operator for it.
    const own = graphOf(
      (parts, x) => {
        const { g } = parts;
        const weight = g.initializer("w", wholeTensor(parts, [3, 4, 1, 1]));
        const inner = g.node("Conv", [x, weight, g.initializer("b", float32([3], BIAS))]);
        const padded = g.node("PadSelf", [inner], { pads: [pad, pad, pad, pad] }, "own", "reparam");
        const kernel = [2 * pad + 1, 2 * pad + 1];
        const wide = conv(parts, padded, { inC: 3, outC: 4, kernel });
        const side = conv(parts, x, { inC: 4, outC: 4, kernel, pads: [pad, pad, pad, pad] });
        return g.node("Add", [wide, side]);
      },
      { sizes: [6, 5] },
    );
    const [a, b] = [plan.regions[0]!.affine, (await planReparam(own)).regions[0]!.affine];
    expect(await a.weights(0, 4, true)).toEqual(await b.weights(0, 4, true));
    expect(await a.biases()).toEqual(await b.biases());
    expect(a.axes).toEqual(b.axes);
  },
);

test("a fixed batch gives constant indices, and the same answer", async () => {
  const model = dbb();
  const [input] = model.graph.inputs;
  const inputs = [{ ...input!, shape: [2, 4, 6, 5] }];
  const plan = await planReparam({ ...model, graph: { ...model.graph, inputs } });
  expect(plan.regions.map(({ output }) => output)).toEqual(["sum"]);
});

test("the last bit of a border computed apart from the bias does not matter, the fourth digit does", async () => {
  // 3 · 2⁻²³ is one unit in the last place of the largest bias.
  const close = await planReparam(dbb({ values: [2, -1, 3 * (1 + 2 ** -23)] }));
  expect(close.regions.map(({ output }) => output)).toEqual(["sum"]);
  const off = await planReparam(dbb({ values: [2, -1, 3.001] }));
  expect(off.regions.map(({ output }) => output)).not.toContain("sum");
});

test.each([
  ["one face is missing", { faces: ["top", "bottom", "left"] }],
  ["zeros are written", { values: [0, 0, 0] }],
  ["one channel gets another number", { values: [2, -1, 4] }],
  ["the rows beside the border are written", { shifted: true }],
  ["it is added to what is there", { reduction: "add" }],
  ["rows are counted from an end that is not known", { sizes: ["h", "w"] }],
] as const)("nothing is joined when %s", async (_name, wish) => {
  const plan = await planReparam(dbb(wish));
  expect(plan.regions.map(({ output }) => output)).not.toContain("sum");
});

test("the reason names the padding and what is wrong with it", async () => {
  const plan = await planReparam(dbb({ values: [2, -1, 4] }));
  expect(plan.refusals.map(({ reason }) => reason)).toEqual([
    expect.stringMatching(
      /^ScatterND_\d+: it writes 4 into the border of channel 2, where the value's own continuation is 3$/,
    ),
  ]);
});

test("an index tensor that is read elsewhere keeps the region from disappearing", async () => {
  const model = dbb();
  const { graph } = model;
  const shape = graph.nodes.find((node) => node.opType === "Shape" && node.inputs[0] === "pad")!;
  const tapped = [
    ...graph.outputs,
    { name: shape.outputs[0]!, dtype: "int64" as const, shape: [4] },
  ];
  const plan = await planReparam({ ...model, graph: { ...graph, outputs: tapped } });
  expect(plan.regions.map(({ output }) => output)).not.toContain("sum");
  expect(plan.refusals.map(({ reason }) => reason)).toEqual([
    `its inner value ${shape.outputs[0]} is an output of the graph`,
  ]);
});
