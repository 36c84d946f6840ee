import { describe, expect, test } from "vitest";
import { decisions, outputMetrics, rms } from "./metrics.ts";

describe("outputMetrics", () => {
  test("numbers small enough to do by hand", () => {
    // b − a = (0, 3, −4): length 5; a has length √(4² + 0 + 3²) = 5.
    const metrics = outputMetrics([4, 0, 3], [4, 3, -1]);
    expect(metrics).toEqual({
      maxAbsError: 4,
      l2: 5,
      relativeL2: 1,
      snrDb: 0, // 20·log₁₀(5 / 5)
      maxAbs: 4,
      allclose1e8: false,
    });
  });

  test("a tenth of the size is 20 dB", () => {
    expect(outputMetrics([10, 0], [10, 1]).snrDb).toBe(20); // 20·log₁₀(10 / 1)
  });

  test("equal outputs have no error and an infinite ratio, also when they are zero", () => {
    for (const values of [[1, 2], [0, 0], []]) {
      const metrics = outputMetrics(values, values);
      expect(metrics).toMatchObject({ maxAbsError: 0, relativeL2: 0, allclose1e8: true });
      expect(metrics.snrDb).toBe(Number.POSITIVE_INFINITY);
    }
  });

  test("allclose is an absolute bound, whatever the size of the numbers", () => {
    expect(outputMetrics([1e6], [1e6 + 1e-7]).allclose1e8).toBe(false);
    expect(outputMetrics([1e-9], [9e-9]).allclose1e8).toBe(true); // 8e-9 off, nine times the number
  });

  test("NaN wins", () => {
    const metrics = outputMetrics([1, 2, 3], [1, Number.NaN, 3]);
    expect(metrics.maxAbsError).toBeNaN();
    expect(metrics.allclose1e8).toBe(false);
  });
});

test("rms is the root of the mean square", () => {
  expect(rms([0, 0], [3, 4])).toBe(Math.sqrt(12.5)); // (9 + 16) / 2
  expect(rms([], [])).toBe(0);
});

describe("decisions", () => {
  test("counts equal classes, the smallest margin and the largest change", () => {
    const a = [1, 5, 3, 9, 8, 0];
    const b = [1, 5, 4, 8, 9, 0];
    expect(decisions(a, b, [2, 3])).toEqual({
      agreeing: 1, // row 0: class 1 twice; row 1: class 0, then class 1
      total: 2,
      smallestMargin: 1, // 9 − 8, against 5 − 3
      largestChange: 1,
    });
  });

  test("takes the first of equal entries", () => {
    expect(decisions([2, 2], [2, 2], [1, 2])).toMatchObject({ agreeing: 1, smallestMargin: 0 });
  });

  test.each([[[2, 1]], [[0, 3]], [[1, 2, 1]], [[4]]])(
    "has nothing to say about shape %j",
    (shape) => {
      expect(decisions([1, 2, 3, 4], [1, 2, 3, 4], shape)).toBeUndefined();
    },
  );
});
