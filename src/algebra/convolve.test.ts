import fc from "fast-check";
import { expect, test } from "vitest";
import {
  accepted,
  convOfInput,
  convSignal,
  evaluate,
  integers,
  randomConv,
  randomSignal,
} from "../../test/support/affine-values.ts";
import { createRng } from "../core/rng.ts";
import { inputAffine } from "./affine.ts";
import { averagePool, convolve } from "./convolve.ts";
import { parameter } from "./parameter.ts";

const SEED = 7;

const geometry = fc.record({
  kernel: fc.integer({ min: 1, max: 4 }),
  stride: fc.integer({ min: 1, max: 3 }),
  dilation: fc.integer({ min: 1, max: 3 }),
  begin: fc.integer({ min: 0, max: 3 }),
  end: fc.integer({ min: 0, max: 3 }),
  group: fc.constantFrom(1, 2),
  length: fc.integer({ min: 14, max: 23 }),
  seed: fc.nat(),
});

test("the input's convolution is the convolution, for any geometry", async () => {
  await fc.assert(
    fc.asyncProperty(geometry, async ({ seed, length, begin, end, ...rest }) => {
      const rng = createRng(seed);
      const conv = randomConv(rng, { inC: 4, outC: 2, pads: [begin, end], ...rest });
      const x = randomSignal(rng, 4, length);
      const v = accepted(convolve(inputAffine(4, 1), conv));
      expect(await evaluate(v, x)).toEqual(await convSignal(x, conv));
    }),
    { seed: SEED },
  );
});

test("without padding any two convolutions compose, strides and dilations included", async () => {
  await fc.assert(
    fc.asyncProperty(geometry, geometry, async (first, second) => {
      const rng = createRng(first.seed);
      const inner = randomConv(rng, {
        inC: 4,
        outC: 4,
        ...first,
        pads: [first.begin, first.end],
      });
      const outer = randomConv(rng, { inC: 4, outC: 2, ...second, pads: [0, 0] });
      const x = randomSignal(rng, 4, 40); // 40 > the reach of two kernels: 2 · (3·3 + 1) · 3 at most in strides
      const v = accepted(convolve(accepted(convolve(inputAffine(4, 1), inner)), outer));
      expect(await evaluate(v, x)).toEqual(await convSignal(await convSignal(x, inner), outer));
    }),
    { seed: SEED },
  );
});

test("a padded convolution after an unbiased pointwise one composes, borders included", async () => {
  const rng = createRng(1);
  const inner = randomConv(rng, { inC: 2, outC: 3, kernel: 1, bias: false });
  const outer = randomConv(rng, { inC: 3, outC: 2, kernel: 3, pads: [1, 1] });
  const x = randomSignal(rng, 2, 9);
  const v = accepted(convolve(accepted(convolve(inputAffine(2, 1), inner)), outer));
  expect(await evaluate(v, x)).toEqual(await convSignal(await convSignal(x, inner), outer));
});

test("refuses padding after a bias: zeros are not what the value continues with", () => {
  const v = convOfInput(createRng(1), { inC: 2, outC: 2, kernel: 1 });
  const result = convolve(
    v,
    randomConv(createRng(2), { inC: 2, outC: 2, kernel: 3, pads: [1, 1] }),
  );
  expect(result).toEqual({
    refused:
      "zero padding of 1, 1: the value continues with its bias beyond the border, and the padding puts zeros there",
  });
});

test("refuses padding after a kernel that still sees the image from outside", () => {
  const v = convOfInput(createRng(1), { inC: 2, outC: 2, kernel: 3, pads: [1, 1], bias: false });
  const result = convolve(
    v,
    randomConv(createRng(2), { inC: 2, outC: 2, kernel: 3, pads: [1, 1] }),
  );
  expect(result).toEqual({
    refused:
      "zero padding of 1, 1: the value's own taps still reach the image beyond its border, so its formula is not constant there",
  });
});

test("refuses a kernel with other spatial axes than the value", () => {
  const conv = randomConv(createRng(1), { inC: 1, outC: 1, kernel: 1 });
  expect(convolve(inputAffine(1, 2), conv)).toEqual({
    refused: "a convolution over 1 spatial axes reads a value with 2",
  });
});

test("one changed weight changes the result", async () => {
  const rng = createRng(3);
  const conv = randomConv(rng, { inC: 2, outC: 2, kernel: 3 });
  const x = randomSignal(rng, 2, 8);
  const numbers = await conv.weight.read(0, 12);
  numbers[5] = numbers[5]! + 1;
  const changed = { ...conv, weight: parameter("w", numbers) };
  const v = accepted(convolve(inputAffine(2, 1), changed));
  expect(await evaluate(v, x)).not.toEqual(await convSignal(x, conv));
});

test("average pooling is the mean of each window, padding counted", async () => {
  const axes = [{ kernel: 2, stride: 2, dilation: 1, beginPad: 0, endPad: 1 }];
  const v = accepted(averagePool(inputAffine(1, 1), axes));
  // (3 + 5)/2, (7 + 0)/2: a power of two, so exact.
  expect(await evaluate(v, [[3, 5, 7]])).toEqual([[4, 3.5]]);
  expect(v.roundings.weight).toBe(0);
  const third = [{ ...axes[0]!, kernel: 3 }];
  expect(accepted(averagePool(inputAffine(1, 1), third)).roundings.weight).toBe(1); // 1/3 is stored rounded
});

test("rows can be asked for a few at a time, with the magnitudes that made them", async () => {
  const rng = createRng(5);
  const inner = convOfInput(rng, { inC: 4, outC: 6, kernel: 2, group: 2 });
  const v = accepted(convolve(inner, randomConv(rng, { inC: 6, outC: 4, kernel: 2, group: 2 })));
  const all = await v.weights(0, 4, true);
  const size = all.values.length / 4;
  for (let o = 0; o < 4; o++) {
    const row = await v.weights(o, o + 1, true);
    expect(row.values).toEqual(all.values.slice(o * size, (o + 1) * size));
    expect(row.bounds).toEqual(all.bounds.slice(o * size, (o + 1) * size));
  }
  // Every number is at most the sum of the magnitudes of its terms.
  expect(all.values.every((value, i) => Math.abs(value) <= all.bounds[i]!)).toBe(true);
  expect((await v.weights(0, 4, false)).bounds).toHaveLength(0);
});

test("counts the roundings of an ordinary float32 composition", () => {
  const rng = createRng(6);
  const inner = convOfInput(rng, { inC: 4, outC: 8, kernel: 1 });
  const v = accepted(convolve(inner, randomConv(rng, { inC: 8, outC: 2, kernel: 3 })));
  expect(v.roundings.weight).toBe(8); // eight products and seven sums round eight times at most
  expect(v.roundings.bias).toBe(8 * 3 + 1); // 24 products summed, then the own bias
});

test("a convolution's bias is untouched when the value has none", async () => {
  const rng = createRng(8);
  const inner = convOfInput(rng, { inC: 1, outC: 2, kernel: 1, bias: false });
  const bias = integers(rng, 2);
  const outer = { ...randomConv(rng, { inC: 2, outC: 2, kernel: 1 }), bias: parameter("b", bias) };
  const v = accepted(convolve(inner, outer));
  expect([...(await v.biases()).values]).toEqual(bias);
});
