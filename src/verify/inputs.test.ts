import { describe, expect, test } from "vitest";
import { decodeFloat64 } from "../core/dtype.ts";
import { createGraphBuilder } from "../ir/builder.ts";
import type { Dim, Model } from "../ir/graph.ts";
import { generateInputs } from "./inputs.ts";

function model(shape: readonly Dim[] | undefined, dtype: "float32" | "int64" = "float32"): Model {
  const builder = createGraphBuilder();
  const x = builder.input("x", dtype, shape);
  builder.output(builder.node("Relu", [x], {}, "y"), dtype, undefined);
  return builder.build();
}

describe("generateInputs", () => {
  test("fills open sizes: four images of 64 × 64", () => {
    expect(generateInputs(model(["N", 3, "H", "W"])).get("x")?.shape).toEqual([4, 3, 64, 64]);
  });

  test("keeps what the model fixes, and takes the shape it is given", () => {
    expect(generateInputs(model([1, 3, 17, "W"])).get("x")?.shape).toEqual([1, 3, 17, 64]);
    const given = generateInputs(model(["N", 3, "H", "W"]), { shape: [2, 3, 9, 5] });
    expect(given.get("x")?.shape).toEqual([2, 3, 9, 5]);
  });

  test("a shape that the model does not take is refused", () => {
    expect(() => generateInputs(model(["N", 3, 8, 8]), { shape: [1, 4, 8, 8] })).toThrow(
      "shape [1, 4, 8, 8] was given, the model takes [N, 3, 8, 8]",
    );
  });

  test.each([
    [["N", "C", 8, 8], "channel count"],
    [undefined, "shape is not declared"],
  ] as const)("%j leaves nothing to generate", (shape, why) => {
    expect(() => generateInputs(model(shape))).toThrow(why);
  });

  test("integers are not generated", () => {
    expect(() => generateInputs(model([1, 4], "int64"))).toThrow("its type is int64");
  });

  test("the same seed gives the same numbers, of both signs and partly zero", () => {
    const values = (seed: number): Float64Array =>
      decodeFloat64(generateInputs(model([4, 1, 16, 16]), { seed }).get("x")!.bytes, "float32");
    const first = values(1);
    expect(values(1)).toEqual(first);
    expect(values(2)).not.toEqual(first);
    const image = (i: number): Float64Array => first.subarray(256 * i, 256 * (i + 1));
    expect(image(0).some((x) => x < 0)).toBe(true);
    expect(image(1).every((x) => x >= 0 && x < 1)).toBe(true);
    // One of 64 numbers is an impulse: all 256 being zero, or none, has a probability below 2 %.
    const impulses = image(2).filter((x) => x !== 0).length;
    expect(impulses).toBeGreaterThan(0);
    expect(impulses).toBeLessThan(32);
  });
});
