import fc from "fast-check";
import { expect, test } from "vitest";
import { float32Tensor, int64Tensor, lazyTensor, tensor } from "../core/tensor.ts";
import { tensorStatistics } from "./tensor-statistics.ts";

test("mean, spread and range", async () => {
  // mean (1 + 2 + 3 + 6) / 4 = 3; squares of distances 4 + 1 + 0 + 9 = 14; √(14 / 4)
  expect(await tensorStatistics(lazyTensor(float32Tensor([4], [1, 2, 3, 6])))).toEqual({
    mean: 3,
    min: 1,
    max: 6,
    deviation: Math.sqrt(3.5),
    nanCount: 0,
    infinityCount: 0,
  });
});

test("NaN and infinities are counted and left out", async () => {
  const values = [Number.NaN, 1, Number.POSITIVE_INFINITY, 3, Number.NEGATIVE_INFINITY];
  expect(await tensorStatistics(lazyTensor(float32Tensor([5], values)))).toMatchObject({
    ...{ mean: 2, min: 1, max: 3, nanCount: 1, infinityCount: 2 },
  });
});

test("nothing to measure", async () => {
  expect(await tensorStatistics(lazyTensor(float32Tensor([0], [])))).toMatchObject({
    ...{ mean: undefined, min: undefined, deviation: undefined },
  });
  const complex = lazyTensor(tensor("complex64", [1], new Uint8Array(8)));
  expect(await tensorStatistics(complex)).toBeUndefined();
});

test("a spread far smaller than the mean survives", async () => {
  // Mean of squares minus square of mean would give 0 or garbage: 2⁵² ± 1 has no room for squares.
  const values = lazyTensor(int64Tensor([2], [2 ** 52 - 1, 2 ** 52 + 1]));
  expect(await tensorStatistics(values)).toMatchObject({ mean: 2 ** 52, deviation: 1 });
});

test("reading in pieces gives what one pass over all gives", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 1, maxLength: 50 }),
      async (small) => {
        // Repeated beyond one piece (2¹⁸ elements); repeating changes neither mean nor range.
        const times = Math.ceil((2 ** 18 + 1) / small.length);
        const values = Float32Array.from(
          { length: small.length * times },
          (_, i) => small[i % small.length]!,
        );
        const found = await tensorStatistics(lazyTensor(float32Tensor([values.length], values)));
        const mean = small.reduce((a, b) => a + b, 0) / small.length;
        // Welford's error: at most n roundings of numbers up to 1000.
        expect(Math.abs(found!.mean! - mean)).toBeLessThanOrEqual(values.length * 1000 * 2 ** -53);
        expect([found!.min, found!.max]).toEqual([Math.min(...small), Math.max(...small)]);
      },
    ),
    { numRuns: 10 },
  );
});
