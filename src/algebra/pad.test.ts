import { expect, test } from "vitest";
import {
  accepted,
  convOfInput,
  convSignal,
  evaluate,
  randomConv,
  randomSignal,
} from "../../test/support/affine-values.ts";
import { createRng } from "../core/rng.ts";
import { inputAffine } from "./affine.ts";
import { convolve } from "./convolve.ts";
import { pad } from "./pad.ts";

const pointwise = (bias: boolean) =>
  convOfInput(createRng(1), { inC: 2, outC: 2, kernel: 1, bias });
const x = randomSignal(createRng(2), 2, 5);

test("zero padding of an unbiased value puts zeros at both ends", async () => {
  const inner = await evaluate(pointwise(false), x);
  const padded = await evaluate(accepted(pad(pointwise(false), [2], [1], "zero")), x);
  expect(padded).toEqual(inner.map((row) => [0, 0, ...row, 0]));
});

test("a value padded by itself continues with its bias", async () => {
  const inner = await evaluate(pointwise(true), x);
  const { values: bias } = await pointwise(true).biases();
  const padded = await evaluate(accepted(pad(pointwise(true), [1], [2], "own")), x);
  expect(padded).toEqual(inner.map((row, o) => [bias[o], ...row, bias[o], bias[o]]));
});

test("a convolution after it is the chain of a bias-padded block", async () => {
  const outer = randomConv(createRng(3), { inC: 2, outC: 2, kernel: 3 });
  const padded = accepted(pad(pointwise(true), [1], [1], "own"));
  const chain = await convSignal(await evaluate(padded, x), outer);
  expect(await evaluate(accepted(convolve(padded, outer)), x)).toEqual(chain);
});

test("cropping drops positions, of any value", async () => {
  const dense = convOfInput(createRng(4), { inC: 2, outC: 2, kernel: 3, pads: [1, 1] });
  const inner = await evaluate(dense, x);
  const cropped = await evaluate(accepted(pad(dense, [-1], [-2], "zero")), x);
  expect(cropped).toEqual(inner.map((row) => row.slice(1, -2)));
});

test("refuses zeros after a bias, and any padding where the kernel still sees the image", () => {
  expect(pad(pointwise(true), [1], [1], "zero")).toEqual({
    refused:
      "padding by 1, 1: the value continues with its bias beyond the border, and the padding puts zeros there",
  });
  const dense = convOfInput(createRng(4), { inC: 2, outC: 2, kernel: 3, pads: [1, 1] });
  for (const filling of ["zero", "own"] as const) {
    expect(pad(dense, [0], [1], filling)).toEqual({
      refused:
        "padding by 0, 1: the value's own taps still reach the image beyond its border, so its formula is not constant there",
    });
  }
});

test("padding by nothing is the value", () => {
  expect(accepted(pad(inputAffine(2, 1), [0], [0], "zero")).isInput).toBe(true);
  expect(accepted(pad(inputAffine(2, 1), [1], [0], "zero")).isInput).toBe(false);
});
