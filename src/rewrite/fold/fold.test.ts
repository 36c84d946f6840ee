/** @file Operators over constants: values by hand, what is none, limits, laziness. */

import { describe, expect, test } from "vitest";
import { float32, graphOf, int64, type Parts } from "../../../test/support/graph-parts.ts";
import { lazyTensor, readFloat64, tensor } from "../../core/tensor.ts";
import { type Constant, collectConstants, MAX_FOLD_DEPTH } from "../constants.ts";
import { MAX_FOLDED_ELEMENTS } from "./fold.ts";

/** The constant that `draw` makes; undefined when it is none. */
async function constantOf(
  draw: (parts: Parts, x: string) => string,
  opset = 17,
): Promise<Constant | undefined> {
  let name = "";
  const model = graphOf(
    (parts, x) => {
      name = draw(parts, x);
      return name;
    },
    { opset },
  );
  return (await collectConstants(model.graph, opset)).get(name);
}

async function numbersOf(
  draw: (parts: Parts, x: string) => string,
  opset?: number,
): Promise<{ shape: readonly number[]; values: number[] }> {
  const constant = await constantOf(draw, opset);
  if (!constant) throw new Error("not a constant");
  return { shape: constant.tensor.shape, values: [...(await readFloat64(constant.tensor))] };
}

const matrix = ({ g }: Parts): string => g.initializer("m", float32([2, 3], [1, 2, 3, 4, 5, 6]));

describe("values by hand", () => {
  const cases: [string, (parts: Parts) => string, number[], number[], number?][] = [
    ["Transpose", (p) => p.g.node("Transpose", [matrix(p)]), [3, 2], [1, 4, 2, 5, 3, 6]],
    [
      "Reshape with −1 and 0",
      (p) => p.g.node("Reshape", [matrix(p), int64(p, [0, -1, 1])]),
      [2, 3, 1],
      [1, 2, 3, 4, 5, 6],
    ],
    [
      "Unsqueeze by attribute",
      (p) => p.g.node("Unsqueeze", [matrix(p)], { axes: [0, -1] }),
      [1, 2, 3, 1],
      [1, 2, 3, 4, 5, 6],
      11,
    ],
    [
      "Unsqueeze by input",
      (p) => p.g.node("Unsqueeze", [matrix(p), int64(p, [1])]),
      [2, 1, 3],
      [1, 2, 3, 4, 5, 6],
    ],
    [
      "Squeeze of all",
      (p) => p.g.node("Squeeze", [p.g.initializer("s", float32([1, 2, 1], [7, 8]))]),
      [2],
      [7, 8],
    ],
    [
      "Flatten",
      (p) =>
        p.g.node("Flatten", [p.g.initializer("s", float32([2, 1, 2], [7, 8, 9, 1]))], { axis: 2 }),
      [2, 2],
      [7, 8, 9, 1],
    ],
    [
      "Slice with a negative step",
      (p) =>
        p.g.node("Slice", [
          matrix(p),
          int64(p, [-1]),
          int64(p, [-9]),
          int64(p, [1]),
          int64(p, [-2]),
        ]),
      [2, 2],
      [3, 1, 6, 4],
    ],
    [
      "Slice by attributes",
      (p) => p.g.node("Slice", [matrix(p)], { starts: [1], ends: [2], axes: [0] }),
      [1, 3],
      [4, 5, 6],
      9,
    ],
    [
      "Gather of rows",
      (p) => p.g.node("Gather", [matrix(p), int64(p, [-1, 0])]),
      [2, 3],
      [4, 5, 6, 1, 2, 3],
    ],
    [
      "Gather of columns",
      (p) => p.g.node("Gather", [matrix(p), int64(p, [2])], { axis: 1 }),
      [2, 1],
      [3, 6],
    ],
    [
      "Concat",
      (p) => p.g.node("Concat", [matrix(p), matrix(p)], { axis: -1 }),
      [2, 6],
      [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6],
    ],
    [
      "Expand",
      (p) =>
        p.g.node("Expand", [p.g.initializer("c", float32([2, 1], [1, 2])), int64(p, [2, 2, 3])]),
      [2, 2, 3],
      [1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2],
    ],
    ["Shape", (p) => p.g.node("Shape", [matrix(p)]), [2], [2, 3]],
    [
      "ConstantOfShape",
      (p) => p.g.node("ConstantOfShape", [int64(p, [3])], { value: float32([1], [4]) }),
      [3],
      [4, 4, 4],
    ],
    ["Range", (p) => p.g.node("Range", [scalar(p, 2), scalar(p, 9), scalar(p, 3)]), [3], [2, 5, 8]],
    [
      "Where of Equal",
      (p) =>
        p.g.node("Where", [
          p.g.node("Equal", [int64(p, [1, 2]), int64(p, [1, 3])]),
          int64(p, [8, 8]),
          int64(p, [9, 9]),
        ]),
      [2],
      [8, 9],
    ],
    [
      "Pad",
      (p) =>
        p.g.node("Pad", [
          matrix(p),
          int64(p, [0, 1, 1, 0]),
          p.g.initializer("f", float32([], [9])),
        ]),
      [3, 4],
      [9, 1, 2, 3, 9, 4, 5, 6, 9, 9, 9, 9],
    ],
    [
      "ScatterND",
      (p) =>
        p.g.node("ScatterND", [
          matrix(p),
          p.g.initializer(
            "i",
            lazyTensor(tensor("int64", [2, 2], BigInt64Array.of(0n, 1n, -1n, -1n))),
          ),
          p.g.initializer("u", float32([2], [70, 80])),
        ]),
      [2, 3],
      [1, 70, 3, 4, 5, 80],
    ],
    [
      "Div of integers",
      (p) => p.g.node("Div", [int64(p, [7, -7]), int64(p, [2, 2])]),
      [2],
      [3, -3],
    ],
    [
      "broadcast Mul",
      (p) => p.g.node("Mul", [matrix(p), p.g.initializer("c", float32([2, 1], [10, 100]))]),
      [2, 3],
      [10, 20, 30, 400, 500, 600],
    ],
    [
      "ReduceSum by input",
      (p) => p.g.node("ReduceSum", [matrix(p), int64(p, [-1])], { keepdims: 0 }),
      [2],
      [6, 15],
      13,
    ],
    [
      "ReduceMean by attribute",
      (p) => p.g.node("ReduceMean", [matrix(p)], { axes: [0] }),
      [1, 3],
      [2.5, 3.5, 4.5],
      13,
    ],
    [
      "MatMul",
      (p) => p.g.node("MatMul", [matrix(p), p.g.initializer("c", float32([3, 1], [1, 0, 2]))]),
      [2, 1],
      [7, 16],
    ],
    // [1, 2, 3] ∗ [1, 10] with one zero before: 0·1 + 1·10, 1 + 20, 2 + 30
    [
      "Conv",
      (p) =>
        p.g.node(
          "Conv",
          [
            p.g.initializer("x", float32([1, 1, 3], [1, 2, 3])),
            p.g.initializer("w", float32([1, 1, 2], [1, 10])),
          ],
          { pads: [1, 0] },
        ),
      [1, 1, 3],
      [10, 21, 32],
    ],
    [
      "grouped, dilated Conv",
      (p) =>
        p.g.node(
          "Conv",
          [
            p.g.initializer("x", float32([1, 2, 3], [1, 2, 3, 4, 5, 6])),
            p.g.initializer("w", float32([2, 1, 2], [1, 10, 1, 100])),
          ],
          { group: 2, dilations: [2] },
        ),
      [1, 2, 1],
      [31, 604],
    ],
    [
      "Cast to int64 of a bool",
      (p) => p.g.node("Cast", [p.g.node("Equal", [int64(p, [4, 5]), int64(p, [4, 4])])], { to: 7 }),
      [2],
      [1, 0],
    ],
  ];
  test.each(cases)("%s", async (_name, draw, shape, values, opset) => {
    expect(await numbersOf(draw, opset)).toEqual({ shape, values });
  });
});

function scalar({ g }: Parts, value: number): string {
  return g.initializer("n", lazyTensor(tensor("int64", [], BigInt64Array.of(BigInt(value)))));
}

describe("no constant", () => {
  const cases: [string, (parts: Parts, x: string) => string][] = [
    ["when an input is none", (p, x) => p.g.node("Add", [matrix(p), x])],
    ["when shapes do not fit", (p) => p.g.node("Reshape", [matrix(p), int64(p, [4])])],
    ["when they do not broadcast", (p) => p.g.node("Add", [matrix(p), int64(p, [1, 2])])],
    ["when the operator is unknown", (p) => p.g.node("Softplus", [matrix(p)])],
    ["of another domain", (p) => p.g.node("Add", [matrix(p), matrix(p)], {}, "a", "com.example")],
    ["for a Cast that loses digits", (p) => p.g.node("Cast", [matrix(p)], { to: 7 })],
    ["for a Cast to float16", (p) => p.g.node("Cast", [matrix(p)], { to: 10 })],
    [
      "for a Slice with step 0",
      (p) =>
        p.g.node("Slice", [matrix(p), int64(p, [0]), int64(p, [1]), int64(p, [0]), int64(p, [0])]),
    ],
    [
      "beyond the largest size",
      (p) => p.g.node("ConstantOfShape", [int64(p, [MAX_FOLDED_ELEMENTS, 2])]),
    ],
    ["for a negative size", (p) => p.g.node("ConstantOfShape", [int64(p, [-2])])],
    ["for an endless Range", (p) => p.g.node("Range", [scalar(p, 0), scalar(p, 1), scalar(p, 0)])],
    [
      "for a hostile product",
      (p) => p.g.node("MatMul", [huge(p, [2 ** 20, 2 ** 10]), huge(p, [2 ** 10, 2 ** 20])]),
    ],
  ];
  test.each(cases)("%s", async (_name, draw) => {
    expect(await constantOf(draw)).toBeUndefined();
  });
});

/** A weight that nobody may read. */
function huge({ g }: Parts, shape: readonly number[]): string {
  const read = async (): Promise<Uint8Array> => {
    throw new Error("read");
  };
  return g.initializer("huge", { dtype: "float32", shape, read });
}

test("a chain of operators is folded up to its limit, without recursing further", async () => {
  const chain = (length: number) => (parts: Parts) => {
    let value = matrix(parts);
    for (let i = 0; i < length; i++) value = parts.g.node("Neg", [value]);
    return value;
  };
  expect((await numbersOf(chain(MAX_FOLD_DEPTH))).values[0]).toBe(1); // an even number of signs
  expect(await constantOf(chain(MAX_FOLD_DEPTH + 1))).toBeUndefined();
  // Shapes alone cost nothing and do not count.
  const reshapes = (parts: Parts): string => {
    let value = matrix(parts);
    for (let i = 0; i < 2 * MAX_FOLD_DEPTH; i++) value = parts.g.node("Identity", [value]);
    return value;
  };
  expect((await numbersOf(reshapes)).values).toHaveLength(6);
});

test("nothing is read before someone asks, and then once", async () => {
  let reads = 0;
  const constant = await constantOf((parts) => {
    const stored = parts.g.initializer("w", {
      dtype: "float32",
      shape: [2],
      read: async () => {
        reads++;
        return new Uint8Array(Float32Array.of(3, 4).buffer);
      },
    });
    return parts.g.node("Mul", [parts.g.node("Add", [stored, stored]), matrixColumn(parts)]);
  });
  expect(reads).toBe(0);
  expect([...(await readFloat64(constant!.tensor))]).toEqual([6, 8, 60, 80]);
  expect([...(await readFloat64(constant!.tensor))]).toEqual([6, 8, 60, 80]);
  expect(reads).toBe(2); // both operands of the sum, once each
  expect(constant!.roundings).toBe(2);
});

function matrixColumn({ g }: Parts): string {
  return g.initializer("c", float32([2, 1], [1, 10]));
}

test("weights in Constant nodes of every spelling", async () => {
  const float = await numbersOf(({ g }) =>
    g.node("Constant", [], { value_floats: { floats: [1, 2] } }),
  );
  expect(float).toEqual({ shape: [2], values: [1, 2] });
  const int = await numbersOf(({ g }) => g.node("Constant", [], { value_int: 5 }));
  expect(int).toEqual({ shape: [], values: [5] });
  const stored = await numbersOf(({ g }) => g.node("Constant", [], { value: float32([1], [7]) }));
  expect(stored).toEqual({ shape: [1], values: [7] });
});

test("a ScatterND outside its tensor names the node when it is read", async () => {
  const constant = await constantOf((p) => {
    const indices = p.g.initializer(
      "i",
      lazyTensor(tensor("int64", [1, 2], BigInt64Array.of(5n, 0n))),
    );
    return p.g.node(
      "ScatterND",
      [matrix(p), indices, p.g.initializer("u", float32([1], [1]))],
      {},
      "writes",
    );
  });
  await expect(readFloat64(constant!.tensor)).rejects.toThrow(
    "writes: it writes at 15 of a tensor with 6 elements",
  );
});
