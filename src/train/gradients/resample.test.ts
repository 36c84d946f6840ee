/** @file Gather and Resize: gradients against central differences, the same by hand, and what is refused. */

import { describe, expect, test } from "vitest";
import { type CheckOperand, checkGradient } from "../../../test/support/gradient-check.ts";

const SEED = 20_261_124;
const x: CheckOperand = { shape: [2, 3, 4, 5] };
const ints = (...values: number[]): CheckOperand => ({ ints: values });
const scales = (...values: number[]): CheckOperand => ({ floats: values });

const NEAREST_FLOOR = {
  mode: "nearest",
  nearest_mode: "floor",
  coordinate_transformation_mode: "asymmetric",
};
const modes = ["nearest", "linear", "cubic"];
const coordinates = [
  "half_pixel",
  "asymmetric",
  "align_corners",
  "pytorch_half_pixel",
  "half_pixel_symmetric",
];

describe("Gather", () => {
  test.each([
    ["a permutation", [2, 0, 1], 1],
    ["elements taken twice, and others left out", [1, 1, -1], 1],
    ["the last axis", [4, 0, 0], 3],
    ["the batch", [1], 0],
    ["one element more often than Gathers are added up", Array<number>(20).fill(2), 2],
  ])("%s", async (_, positions, axis) => {
    await checkGradient({
      opType: "Gather",
      operands: [x, ints(...positions)],
      attributes: { axis },
      seed: SEED,
    });
  });

  test("a single index takes the axis away", async () => {
    await checkGradient({
      opType: "Gather",
      operands: [x, { index: -2 }],
      attributes: { axis: 1 },
      seed: SEED,
    });
  });
});

test("a matrix too large to be written down is refused", async () => {
  const positions = Array<number>(60_000).fill(7); // × 300 elements > 2^24
  const operands = [{ shape: [1, 300] }, ints(...positions)];
  await expect(
    checkGradient({ opType: "Gather", operands, attributes: { axis: 1 } }),
  ).rejects.toThrow("60000 × 300 weights, expected at most 16777216");
});

describe("Resize", () => {
  const cases = modes.flatMap((mode) => coordinates.map((c) => [mode, c] as const));

  test.each(cases)("%s, %s: larger, smaller, and by uneven scales", async (mode, coordinate) => {
    // Uneven scales put no place near the turn from one element to the next.
    for (const [h, w] of [
      [2, 3],
      [0.5, 1],
      [1.3, 0.7],
    ] as const) {
      await checkGradient({
        opType: "Resize",
        operands: [x, undefined, scales(1, 1, h, w)],
        attributes: { mode, coordinate_transformation_mode: coordinate },
        opset: 19, // the first with half_pixel_symmetric
        seed: SEED,
      });
    }
  });

  test.each(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])(
    "nearest_mode %s",
    async (nearest_mode) => {
      const attributes = { nearest_mode, coordinate_transformation_mode: "asymmetric" };
      const operands = [x, undefined, scales(1, 1, 2, 2)];
      await checkGradient({ opType: "Resize", operands, attributes, seed: SEED });
    },
  );

  test("to given sizes; along one axis", async () => {
    const sizes = [x, undefined, undefined, ints(2, 3, 8, 10)];
    await checkGradient({
      opType: "Resize",
      operands: sizes,
      attributes: { mode: "linear" },
      seed: SEED,
    });
    await checkGradient({
      opType: "Resize",
      operands: [{ shape: [1, 2, 7] }, undefined, scales(1, 1, 3)],
      attributes: { mode: "linear" },
      seed: SEED,
    });
  });

  test.each([
    [{ antialias: 1, mode: "linear" }, [0.5, 0.5], "antialias is on"],
    // 1.7 is stored as 1.70000005: place 17 / 1.7 lies just below element 10.
    [NEAREST_FLOOR, [1, 1.7], "rounding decides which is the nearest"],
  ])("%j is refused by name", async (attributes, [h = 1, w = 1], message) => {
    const check = checkGradient({
      opType: "Resize",
      operands: [{ shape: [1, 1, 4, 20] }, undefined, scales(1, 1, h, w)],
      attributes,
      opset: 18,
      seed: SEED,
    });
    await expect(check).rejects.toThrow(message);
  });
});
