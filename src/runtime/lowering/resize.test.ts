import { describe, expect, test } from "vitest";
import {
  expectWithin,
  ints,
  type OneOp,
  randomDense,
  runFloat32,
  runLowered,
  seeded,
} from "../../../test/support/float64-runs.ts";
import type { Dense } from "../../../test/support/naive-graph.ts";

const scales = (...data: number[]): Dense => ({
  shape: [data.length],
  data: Float64Array.from(data),
});
const x = randomDense(seeded(1), [1, 2, 5, 6]);

/** Interpolation is a convex sum (cubic: weights add up to at most 1.8 in size, per axis); 8 float32 roundings per axis. */
const FLOAT32_BOUND = 2 * 8 * 2 ** -24 * 1.8 ** 2;

describe("Resize in float64", () => {
  const modes = ["nearest", "linear", "cubic"];
  const coordinates = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"];
  const cases = modes.flatMap((mode) => coordinates.map((c) => [mode, c] as const));

  test.each(cases)("%s with %s is onnxruntime's float32 one", async (mode, coordinate) => {
    for (const [h, w] of [
      [2, 2],
      [0.6, 1.5],
      [3, 1],
    ] as const) {
      const op: OneOp = {
        opType: "Resize",
        opset: 13,
        attributes: { mode, coordinate_transformation_mode: coordinate },
        operands: [x, undefined, scales(1, 1, h, w)],
      };
      expectWithin(await runLowered(op), await runFloat32(op), FLOAT32_BOUND);
    }
  });

  test.each(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])(
    "nearest_mode %s",
    async (mode) => {
      const op: OneOp = {
        opType: "Resize",
        opset: 13,
        attributes: { nearest_mode: mode, coordinate_transformation_mode: "asymmetric" },
        operands: [x, undefined, scales(1, 1, 2, 4)],
      };
      expectWithin(await runLowered(op), await runFloat32(op), 2 ** -24);
    },
  );

  test("to given sizes", async () => {
    const attributes = { mode: "linear" };
    const operands = [x, undefined, undefined, ints(1, 2, 9, 4)];
    const op: OneOp = { opType: "Resize", opset: 13, attributes, operands };
    expectWithin(await runLowered(op), await runFloat32(op), FLOAT32_BOUND);
  });

  test("of named axes (opset 18)", async () => {
    const attributes = { mode: "linear", axes: [2, 3] };
    const op: OneOp = {
      opType: "Resize",
      opset: 18,
      attributes,
      operands: [x, undefined, scales(2, 3)],
    };
    expectWithin(await runLowered(op), await runFloat32(op), FLOAT32_BOUND);
  });

  test("cubic with the outside excluded", async () => {
    const attributes = { mode: "cubic", exclude_outside: 1, cubic_coeff_a: { float: -0.5 } };
    const op: OneOp = {
      opType: "Resize",
      opset: 13,
      attributes,
      operands: [x, undefined, scales(1, 1, 2, 2)],
    };
    expectWithin(await runLowered(op), await runFloat32(op), FLOAT32_BOUND);
  });

  test("linear by hand: [1, 3] doubled with half_pixel is [1, 1.5, 2.5, 3]", async () => {
    const line: Dense = { shape: [1, 1, 2], data: Float64Array.of(1, 3) };
    const attributes = { mode: "linear" };
    const found = await runLowered({
      opType: "Resize",
      attributes,
      operands: [line, undefined, scales(1, 1, 2)],
    });
    expect([...found.data]).toEqual([1, 1.5, 2.5, 3]);
  });

  test.each([
    [9, { mode: "nearest" }],
    [9, { mode: "linear" }],
  ])("Upsample of opset %d %j", async (opset, attributes) => {
    const op: OneOp = { opType: "Upsample", opset, attributes, operands: [x, scales(1, 1, 2, 3)] };
    expectWithin(await runLowered(op), await runFloat32(op), FLOAT32_BOUND);
  });

  test("Resize of opset 10", async () => {
    const op: OneOp = { opType: "Resize", opset: 10, operands: [x, scales(1, 1, 2, 3)] };
    expectWithin(await runLowered(op), await runFloat32(op), 2 ** -24);
  });

  test.each([
    [{ antialias: 1, mode: "linear" }],
    [{ coordinate_transformation_mode: "tf_crop_and_resize" }],
  ])("%j is refused by name", async (attributes) => {
    const roi: Dense = { shape: [8], data: Float64Array.of(0, 0, 0, 0, 1, 1, 1, 1) };
    const op: OneOp = {
      opType: "Resize",
      opset: 18,
      attributes,
      operands: [x, roi, scales(1, 1, 0.5, 0.5)],
    };
    await expect(runLowered(op)).rejects.toMatchObject({ tag: "refused", where: 'Resize "y"' });
  });
});
