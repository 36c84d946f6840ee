import { expect, test } from "vitest";
import { readFloat64 } from "../../core/tensor.ts";
import { seededNormal } from "./seeded-numbers.ts";

test("ranges are parts of the whole, across blocks; seed and name matter", async () => {
  const shape = [10000];
  const whole = await readFloat64(seededNormal(shape, "float64", 7, "a", 1));
  for (const [start, end] of [
    [0, 1],
    [4095, 4097],
    [5000, 10000],
    [3, 3],
  ] as const) {
    const bytes = await seededNormal(shape, "float64", 7, "a", 1).read(start, end);
    const part = new Float64Array(bytes.slice().buffer);
    expect([...part]).toEqual([...whole.subarray(start, end)]);
  }
  const first = async (seed: number, name: string): Promise<number> =>
    (await readFloat64(seededNormal([1], "float64", seed, name, 1)))[0]!;
  expect(new Set([whole[0]!, await first(8, "a"), await first(7, "b")]).size).toBe(3);
});

test("mean and deviation are what was asked for", async () => {
  const values = await readFloat64(seededNormal([40000], "float64", 1, "w", 2));
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
  // Standard errors: 2/√40000 = 0.01 and 2/√80000 = 0.007; five of them.
  expect(Math.abs(mean)).toBeLessThan(0.05);
  expect(Math.abs(deviation - 2)).toBeLessThan(0.035);
});
