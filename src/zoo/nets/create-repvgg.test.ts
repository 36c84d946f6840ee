import fc from "fast-check";
import { expect, test } from "vitest";
import { float32View } from "../../core/dtype.ts";
import { createRepVgg } from "./create-repvgg.ts";
import { repVggKeys } from "./repvgg-keys.ts";
import { repVggArch } from "./repvgg-variants.ts";
import { seededTensor } from "./seeded-tensor.ts";

const A0 = repVggArch("A0");

async function values(
  key: string,
  options: Parameters<typeof createRepVgg>[2],
): Promise<Float32Array> {
  const tensor = createRepVgg(A0, "training", options).tensors.get(key);
  if (!tensor) throw new Error(`no ${key}`);
  return float32View(await tensor.read());
}

test("has exactly the expected keys, shapes and dtypes, in order", () => {
  for (const form of ["training", "deploy"] as const) {
    const { tensors } = createRepVgg(A0, form, { seed: 1 });
    const found = [...tensors].map(([key, { shape, dtype }]) => [key, shape, dtype]);
    const expected = [...repVggKeys(A0, form)].map(([key, { shape, dtype }]) => [
      key,
      shape,
      dtype,
    ]);
    expect(found).toEqual(expected);
  }
});

test("any range equals the same part of the whole", async () => {
  const tensor = seededTensor([7, 11, 3], 5, "w", { low: -1, high: 1 });
  const whole = float32View(await tensor.read());
  const seed = 42;
  await fc.assert(
    fc.asyncProperty(fc.nat(231), fc.nat(231), async (a, b) => {
      const [start, end] = a < b ? [a, b] : [b, a];
      expect(float32View(await tensor.read(start, end))).toEqual(whole.slice(start, end));
    }),
    { seed, numRuns: 50 },
  );
});

test("the same seed repeats, another seed or another name differs", async () => {
  const key = "stage1.1.rbr_dense.conv.weight";
  const first = await values(key, { seed: 3 });
  expect(await values(key, { seed: 3 })).toEqual(first);
  expect(await values(key, { seed: 4 })).not.toEqual(first);
  expect((await values("stage2.1.rbr_dense.conv.weight", { seed: 3 })).slice(0, 9)).not.toEqual(
    first.slice(0, 9),
  );
});

test("convolutions are Kaiming-uniform", async () => {
  const weight = await values("stage3.1.rbr_dense.conv.weight", { seed: 1 }); // [192, 192, 3, 3]
  const bound = Math.sqrt(6 / (192 * 9));
  let square = 0;
  let sum = 0;
  for (const w of weight) {
    expect(Math.abs(w) <= Math.fround(bound)).toBe(true);
    square += w * w;
    sum += w;
  }
  // n = 331 776 uniform numbers: variance bound²/3, standard error of the mean σ/√n; six of them.
  const sigma = bound / Math.sqrt(3);
  expect(Math.abs(sum / weight.length)).toBeLessThan((6 * sigma) / Math.sqrt(weight.length));
  expect(square / weight.length / sigma ** 2).toBeCloseTo(1, 2); // standard error of the ratio √0.8/√n = 0.0016
});

test("random statistics are not trivial: γ of both signs, σ² positive and away from 1", async () => {
  const path = "stage3.1.rbr_identity";
  const gamma = await values(`${path}.weight`, { seed: 1 });
  const negative = gamma.filter((g) => g < 0).length / gamma.length;
  // 192 draws at 1/4: standard deviation 0.031; five of them.
  expect(Math.abs(negative - 0.25)).toBeLessThan(0.16);
  expect(gamma.every((g) => Math.abs(g) >= 0.39 && Math.abs(g) <= 1.21)).toBe(true);
  const variance = await values(`${path}.running_var`, { seed: 1 });
  expect(variance.every((v) => v >= 1 && v <= 3)).toBe(true);
  expect((await values(`${path}.running_mean`, { seed: 1 })).some((m) => m !== 0)).toBe(true);
});

test.each([
  ["fresh", 1, 0],
  ["gamma1", 1, 0],
  ["gamma001", Math.fround(0.01), Math.fround(0.01)],
] as const)("%s statistics", async (statistics, gamma, beta) => {
  const path = "stage0.rbr_1x1.bn";
  const expected = { weight: gamma, bias: beta, running_mean: 0, running_var: 1 };
  for (const [name, value] of Object.entries(expected)) {
    const found = await values(`${path}.${name}`, { seed: 1, statistics });
    expect(new Set(found)).toEqual(new Set([value]));
  }
});
