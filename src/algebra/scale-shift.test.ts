import { expect, test } from "vitest";
import { convOfInput, evaluate, randomSignal } from "../../test/support/affine-values.ts";
import { createRng } from "../core/rng.ts";
import { inputAffine } from "./affine.ts";
import { parameter } from "./parameter.ts";
import { batchNorm, negate, scale, shift } from "./scale-shift.ts";

const dense = () => convOfInput(createRng(1), { inC: 2, outC: 2, kernel: 3, pads: [1, 1] });
const x = randomSignal(createRng(2), 2, 6);

test("scales each channel", async () => {
  const before = await evaluate(dense(), x);
  const after = await evaluate(scale(dense(), parameter("a", [2, -3])), x);
  expect(after).toEqual([before[0]!.map((v) => 2 * v), before[1]!.map((v) => -3 * v)]);
});

test("shifts each channel, up and down", async () => {
  const before = await evaluate(dense(), x);
  const by = parameter("c", [5, -1]);
  expect(await evaluate(shift(dense(), by), x)).toEqual([
    before[0]!.map((v) => v + 5),
    before[1]!.map((v) => v - 1),
  ]);
  expect(await evaluate(shift(dense(), by, -1), x)).toEqual([
    before[0]!.map((v) => v - 5),
    before[1]!.map((v) => v + 1),
  ]);
});

test("negates", async () => {
  const before = await evaluate(dense(), x);
  expect(await evaluate(negate(dense()), x)).toEqual(before.map((row) => row.map((v) => -v)));
});

const statistics = {
  gamma: parameter("gamma", [6, -2]),
  beta: parameter("beta", [1, 4]),
  mean: parameter("mean", [3, -5]),
  variance: parameter("variance", [4, 16]),
  epsilon: 0,
};

test("normalizes by the running statistics: powers of 4 make it exact", async () => {
  const before = await evaluate(dense(), x);
  const after = await evaluate(batchNorm(dense(), statistics), x);
  expect(after).toEqual([
    before[0]!.map((v) => ((v - 3) * 6) / 2 + 1), // √4 = 2
    before[1]!.map((v) => ((v + 5) * -2) / 4 + 4), // √16 = 4
  ]);
});

test("one changed statistic changes the result", async () => {
  const right = await evaluate(batchNorm(dense(), statistics), x);
  for (const key of ["gamma", "beta", "mean", "variance"] as const) {
    const values = await statistics[key].read(0, 2);
    values[1] = values[1]! * 2;
    const wrong = { ...statistics, [key]: parameter(key, values) };
    expect(await evaluate(batchNorm(dense(), wrong), x), key).not.toEqual(right);
  }
});

test.each([
  [-2, 1, "-1"],
  [0, 0, "0"],
  [Number.NaN, 1e-5, "NaN"],
  [Number.POSITIVE_INFINITY, 1e-5, "Infinity"],
])(
  "a variance of %d with epsilon %d is an error that names it",
  async (variance, epsilon, spread) => {
    const bad = { ...statistics, variance: parameter("bn.var", [1, variance]), epsilon };
    await expect(batchNorm(dense(), bad).weights(0, 2, false)).rejects.toThrow(
      `bn.var[1]: variance ${variance} plus epsilon ${epsilon} is ${spread}, expected a finite number above 0`,
    );
  },
);

test("counts roundings: 4 for a normalized weight, 5 for its bias, one more where a bias comes in", () => {
  expect(batchNorm(inputAffine(2, 1), statistics).roundings).toEqual({ weight: 4, bias: 5 });
  expect(batchNorm(dense(), statistics).roundings).toEqual({ weight: 4, bias: 6 });
  // Computed statistics bring their own.
  const gamma = parameter("gamma", [6, -2], 3);
  expect(batchNorm(dense(), { ...statistics, gamma }).roundings).toEqual({ weight: 7, bias: 9 });
  expect(scale(dense(), parameter("a", [1, 1])).roundings).toEqual({ weight: 1, bias: 1 });
  expect(shift(dense(), parameter("c", [1, 1])).roundings).toEqual({ weight: 0, bias: 1 });
});

test("a scale keeps what is known of the bias", () => {
  const unbiased = convOfInput(createRng(1), { inC: 2, outC: 2, kernel: 1, bias: false });
  expect(scale(unbiased, parameter("a", [1, 2])).biasIsZero).toBe(true);
  expect(shift(unbiased, parameter("c", [1, 2])).biasIsZero).toBe(false);
  expect(batchNorm(unbiased, statistics).biasIsZero).toBe(false);
});
