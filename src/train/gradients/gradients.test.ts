import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type CheckOperand,
  checkGradient,
  type GradientCheck,
} from "../../../test/support/gradient-check.ts";
import { GRADIENT_RULES } from "./index.ts";

const SEED = 20_261_123;
const x: CheckOperand = { shape: [2, 3, 4, 5] };
const positive: CheckOperand = { shape: [2, 3, 4, 5], low: 0.5, high: 3 };
const perChannel: CheckOperand = { shape: [3, 1, 1], low: 0.5, high: 2 };
const ints = (...values: number[]): CheckOperand => ({ ints: values });
const floats = (...values: number[]): CheckOperand => ({ floats: values });

/** One row per operator and way of using it. */
const CASES: readonly GradientCheck[] = [
  { opType: "Add", operands: [x, perChannel] },
  { opType: "Add", operands: [{ shape: [3, 1] }, { shape: [2, 1, 4] }] }, // both sides broadcast
  { opType: "Sub", operands: [x, perChannel] },
  { opType: "Mul", operands: [x, perChannel] },
  { opType: "Mul", operands: [{ shape: [3, 1] }, { shape: [2, 1, 4] }] },
  { opType: "Div", operands: [x, perChannel] },
  { opType: "Sum", operands: [x, { shape: [5] }, perChannel] },
  { opType: "Neg", operands: [x] },
  { opType: "Sqrt", operands: [positive] },
  { opType: "Exp", operands: [x] },
  { opType: "Log", operands: [positive] },
  { opType: "Abs", operands: [x] },
  { opType: "Reciprocal", operands: [positive] },
  { opType: "Pow", operands: [positive, floats(2)] },
  { opType: "Pow", operands: [positive, floats(1.5)] },
  { opType: "Relu", operands: [x] },
  { opType: "LeakyRelu", operands: [x], attributes: { alpha: { float: 0.125 } } },
  { opType: "PRelu", operands: [x, perChannel] },
  { opType: "Clip", operands: [{ shape: [2, 3, 4], low: -3, high: 9 }, floats(0), floats(6)] },
  { opType: "Clip", operands: [x, undefined, floats(1)] },
  { opType: "Sigmoid", operands: [x] },
  { opType: "Tanh", operands: [x] },
  {
    opType: "HardSigmoid",
    operands: [{ shape: [40], low: -5, high: 5 }],
    attributes: { alpha: { float: 0.25 }, beta: { float: 0.5 } },
  },
  { opType: "HardSwish", operands: [{ shape: [60], low: -5, high: 5 }] },
  { opType: "Erf", operands: [x] },
  { opType: "Gelu", operands: [x], opset: 20 },
  { opType: "Elu", operands: [x], attributes: { alpha: { float: 0.5 } } },
  { opType: "Softplus", operands: [x] },
  { opType: "Softmax", operands: [{ shape: [4, 7] }], attributes: { axis: -1 } },
  { opType: "Softmax", operands: [{ shape: [2, 5, 3] }], attributes: { axis: 1 } },
  { opType: "LogSoftmax", operands: [{ shape: [4, 7] }], attributes: { axis: 1 } },
  { opType: "Identity", operands: [x] },
  { opType: "Reshape", operands: [x, ints(2, -1)] },
  { opType: "Flatten", operands: [x], attributes: { axis: 1 } },
  { opType: "Squeeze", operands: [{ shape: [2, 3, 1, 1] }, ints(2, 3)] },
  { opType: "Unsqueeze", operands: [{ shape: [2, 3] }, ints(0, 3)] },
  { opType: "Transpose", operands: [x], attributes: { perm: [2, 0, 3, 1] } },
  { opType: "Transpose", operands: [x] },
  {
    opType: "Concat",
    operands: [x, { shape: [2, 1, 4, 5] }, { shape: [2, 2, 4, 5] }],
    attributes: { axis: 1 },
  },
  { opType: "Split", operands: [x, ints(1, 2)], attributes: { axis: 1 }, outputs: 2 },
  { opType: "Slice", operands: [x, ints(1, 0), ints(3, 5), ints(1, 3), ints(1, 2)] },
  { opType: "Slice", operands: [x, ints(-3), ints(9_000_000_000), ints(-1)] },
  { opType: "Slice", operands: [{ shape: [2, 8] }, ints(1), ints(8), ints(1), ints(3)] }, // 1, 4, 7
  { opType: "Pad", operands: [x, ints(0, 0, 1, 2, 0, 1, 0, 3)] },
  { opType: "Expand", operands: [{ shape: [3, 1] }, ints(2, 3, 4)] },
  { opType: "DepthToSpace", operands: [{ shape: [1, 8, 2, 3] }], attributes: { blocksize: 2 } },
  { opType: "SpaceToDepth", operands: [{ shape: [1, 2, 4, 6] }], attributes: { blocksize: 2 } },
  { opType: "MatMul", operands: [{ shape: [4, 3] }, { shape: [3, 5] }] },
  { opType: "MatMul", operands: [{ shape: [2, 4, 3] }, { shape: [3, 5] }] },
  { opType: "MatMul", operands: [{ shape: [2, 1, 4, 3] }, { shape: [6, 3, 5] }] },
  { opType: "Gemm", operands: [{ shape: [4, 3] }, { shape: [3, 5] }, { shape: [5] }] },
  ...[0, 1].flatMap((transA) =>
    [0, 1].map(
      (transB): GradientCheck => ({
        opType: "Gemm",
        operands: [
          { shape: transA ? [3, 4] : [4, 3] },
          { shape: transB ? [5, 3] : [3, 5] },
          { shape: [4, 1] },
        ],
        attributes: { transA, transB, alpha: { float: 0.5 }, beta: { float: 2 } },
      }),
    ),
  ),
  { opType: "GlobalAveragePool", operands: [x] },
  { opType: "ReduceMean", operands: [x], attributes: { axes: [2, 3] } },
  { opType: "ReduceMean", operands: [x], attributes: { axes: [-1], keepdims: 0 } },
  { opType: "ReduceMean", operands: [x, ints(2, 3)], opset: 18 },
  { opType: "ReduceSum", operands: [x, ints(1)], attributes: { keepdims: 0 } },
  { opType: "AveragePool", operands: [x], attributes: { kernel_shape: [2, 3], strides: [2, 2] } },
  {
    opType: "AveragePool",
    operands: [{ shape: [1, 2, 7, 7] }],
    attributes: { kernel_shape: [3, 3], pads: [1, 1, 1, 1] },
  },
  {
    opType: "AveragePool",
    operands: [{ shape: [1, 2, 7, 6] }],
    attributes: { kernel_shape: [3, 2], strides: [2, 3], pads: [1, 0, 1, 0], count_include_pad: 1 },
  },
  {
    opType: "MaxPool",
    operands: [{ shape: [2, 2, 6, 6] }],
    attributes: { kernel_shape: [2, 2], strides: [2, 2] },
  },
  {
    opType: "MaxPool",
    operands: [{ shape: [2, 2, 7, 7] }],
    attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] },
  },
  {
    opType: "BatchNormalization",
    operands: [
      { shape: [3, 2, 4, 3] },
      { shape: [2], low: -2, high: 2 },
      { shape: [2] },
      floats(0, 0),
      floats(1, 1),
    ],
  },
];

describe("gradient rules against central differences in float64", () => {
  test.each(CASES.map((check) => [describeCase(check), check] as const))("%s", async (_, check) => {
    await checkGradient({ ...check, seed: SEED });
  });

  test("every operator with a rule is checked", () => {
    const checked = new Set([...CASES.map((check) => check.opType), "Conv", "Dropout"]);
    for (const opType of ["Gather", "Resize"]) checked.add(opType); // resample.test.ts
    expect([...GRADIENT_RULES.keys()].filter((opType) => !checked.has(opType))).toEqual([]);
  });

  test("Conv: groups, strides, dilations, uneven pads, bias, kernels of any size", async () => {
    const axis = fc.record({
      kernel: fc.integer({ min: 1, max: 4 }),
      stride: fc.integer({ min: 1, max: 3 }),
      dilation: fc.integer({ min: 1, max: 2 }),
      begin: fc.integer({ min: 0, max: 3 }),
      end: fc.integer({ min: 0, max: 3 }),
      extra: fc.integer({ min: 0, max: 4 }),
    });
    const spec = fc.record({
      axes: fc.array(axis, { minLength: 1, maxLength: 2 }),
      group: fc.integer({ min: 1, max: 3 }),
      inPerGroup: fc.integer({ min: 1, max: 2 }),
      outPerGroup: fc.integer({ min: 1, max: 2 }),
      bias: fc.boolean(),
      batch: fc.integer({ min: 1, max: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(spec, async ({ axes, group, inPerGroup, outPerGroup, bias, batch }) => {
        const sizes = axes.map(
          ({ kernel, dilation, extra }) => dilation * (kernel - 1) + 1 + extra,
        );
        await checkGradient({
          opType: "Conv",
          operands: [
            { shape: [batch, group * inPerGroup, ...sizes] },
            { shape: [group * outPerGroup, inPerGroup, ...axes.map((a) => a.kernel)] },
            ...(bias ? [{ shape: [group * outPerGroup] }] : []),
          ],
          attributes: {
            group,
            strides: axes.map((a) => a.stride),
            dilations: axes.map((a) => a.dilation),
            pads: [...axes.map((a) => a.begin), ...axes.map((a) => a.end)],
          },
        });
      }),
      { seed: SEED, numRuns: 60 },
    );
  });

  test.each(["SAME_UPPER", "SAME_LOWER"])("Conv with auto_pad %s", async (auto_pad) => {
    await checkGradient({
      opType: "Conv",
      operands: [{ shape: [1, 2, 7, 6] }, { shape: [3, 2, 3, 2] }],
      attributes: { auto_pad, strides: [2, 1] },
    });
  });

  test("Conv on images large enough for one product per image", async () => {
    // 8 × 8 = 64 output positions, above SMALL_IMAGE_POSITIONS
    await checkGradient({
      opType: "Conv",
      operands: [{ shape: [2, 4, 8, 8] }, { shape: [6, 2, 3, 3] }],
      attributes: { group: 2, pads: [1, 1, 1, 1] },
    });
  });
});

describe("what has no gradient is named", () => {
  test.each([
    [
      {
        opType: "Pad",
        operands: [x, ints(0, 0, 1, 1, 0, 0, 1, 1)],
        attributes: { mode: "reflect" },
      },
      "padding mode reflect",
    ],
    [
      { opType: "Slice", operands: [x, ints(3), ints(0), ints(3), ints(-1)] },
      "its step -1 on axis 3",
    ],
    [{ opType: "MatMul", operands: [x, { shape: [5] }] }, "a vector operand"],
  ] as const)("%o", async (check, message) => {
    await expect(checkGradient(check as GradientCheck)).rejects.toThrow(message);
  });
});

function describeCase({ opType, operands, attributes }: GradientCheck): string {
  const shapes = operands.map((operand) =>
    operand && "shape" in operand ? `[${operand.shape}]` : "·",
  );
  return `${opType} ${shapes.join(" ")} ${JSON.stringify(attributes ?? {})}`;
}
