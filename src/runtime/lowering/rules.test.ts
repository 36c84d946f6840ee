import { describe, expect, test } from "vitest";
import { float64OfNative, ints, randomDense, seeded } from "../../../test/support/float64-runs.ts";
import type { Dense } from "../../../test/support/naive-graph.ts";
import type { AttributeInputs } from "../../ir/builder.ts";
import { NATIVE } from "./rules.ts";

const rng = seeded(11);
/** All positive, so that logarithms and roots exist. */
const x = randomDense(rng, [1, 4, 6, 6], 0.5, 1.5);
const column = randomDense(rng, [1, 4, 1, 1], 0.5, 1.5);
const vector = randomDense(rng, [6], 0.5, 1.5);
const matrix = randomDense(rng, [6, 6], 0.5, 1.5);
const scalar = (value: number): Dense => ({ shape: [], data: Float64Array.of(value) });

interface Trial {
  readonly operands: Parameters<typeof float64OfNative>[0]["operands"];
  readonly attributes?: AttributeInputs;
  /** Operators that came later than opset 17 or changed: the opsets to try. */
  readonly opsets?: readonly number[];
  readonly outputs?: number;
}

const UNARY =
  "Abs ArgMax ArgMin Ceil Cos Exp Flatten Floor Identity IsInf IsNaN Log LogSoftmax LpNormalization Neg Reciprocal " +
  "Relu Round Shape Shrink Sign Sin Size Softmax Sqrt Tanh Transpose Trilu";
const BINARY = "Add Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mul Pow Sub Sum";
const REDUCTIONS =
  "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare";

const TRIALS: Readonly<Record<string, Trial>> = {
  ...Object.fromEntries(UNARY.split(" ").map((op) => [op, { operands: [x] }])),
  ...Object.fromEntries(BINARY.split(" ").map((op) => [op, { operands: [x, column] }])),
  ...Object.fromEntries(REDUCTIONS.split(" ").map((op) => [op, { operands: [x] }])),
  Clip: { operands: [x, scalar(0.7), scalar(1)] },
  Compress: { operands: [x, { bools: [true, false, true, false] }], attributes: { axis: 1 } },
  Concat: { operands: [x, x], attributes: { axis: 1 } },
  CumSum: { operands: [x, ints(1)] },
  DepthToSpace: { operands: [x], attributes: { blocksize: 2 } },
  Einsum: { operands: [matrix, matrix], attributes: { equation: "ij,jk->ik" } },
  Expand: { operands: [x, ints(2, 4, 6, 6)] },
  Gather: { operands: [x, ints(0, 1)], attributes: { axis: 1 } },
  GatherElements: { operands: [vector, ints(0, 1)], attributes: { axis: 0 } },
  GatherND: { operands: [x, ints(0, 1)] },
  Gemm: { operands: [matrix, matrix, vector] },
  LayerNormalization: { operands: [x, vector] },
  MatMul: { operands: [x, matrix] },
  MaxPool: { operands: [x], attributes: { kernel_shape: [3, 3] } },
  Mod: { operands: [x, column], attributes: { fmod: 1 } },
  Pad: { operands: [x, ints(0, 0, 1, 1, 0, 0, 1, 1)] },
  Range: { operands: [scalar(0), scalar(3), scalar(0.5)] },
  Reshape: { operands: [x, ints(4, -1)] },
  ReverseSequence: {
    operands: [matrix, ints(1, 2, 3, 4, 5, 6)],
    attributes: { batch_axis: 0, time_axis: 1 },
  },
  ScatterElements: { operands: [vector, ints(0), { shape: [1], data: Float64Array.of(1) }] },
  ScatterND: { operands: [x, ints(0), randomDense(rng, [4, 6, 6])] },
  Slice: { operands: [x, ints(0), ints(4), ints(2), ints(2)] },
  SpaceToDepth: { operands: [x], attributes: { blocksize: 2 } },
  Split: { operands: [x, ints(2, 2)], attributes: { axis: 1 }, outputs: 2 },
  Squeeze: { operands: [x, ints(0)] },
  Tile: { operands: [x, ints(2, 1, 1, 1)] },
  TopK: { operands: [x, ints(2)], outputs: 2 },
  Unsqueeze: { operands: [x, ints(0)] },
  Where: { operands: [{ bools: [true, false, true, false, true, true] }, vector, vector] },
};

describe("operators with double kernels", () => {
  test("are all tried", () => {
    expect(Object.keys(TRIALS).sort()).toEqual([...NATIVE].sort());
  });

  test.each(Object.entries(TRIALS))(
    "%s",
    async (opType, { operands, attributes = {}, outputs = 1 }) => {
      for (const opset of [17, 18, 21, 22]) {
        // A missing kernel fails when the session is made; a run proves that it computes too.
        const result = await float64OfNative({ opType, opset, operands, attributes }, outputs);
        expect(result, `opset ${opset}`).toMatch(/^(float64|int64|bool)$/);
      }
    },
  );
});
