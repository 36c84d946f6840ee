import { expect, test } from "vitest";
import {
  accepted,
  convOfInput,
  convSignal,
  evaluate,
  randomSignal,
} from "../../test/support/affine-values.ts";
import { createRng } from "../core/rng.ts";
import { add } from "./add.ts";
import { inputAffine } from "./affine.ts";
import { convolve } from "./convolve.ts";
import { emission, emittedRows, weightShape } from "./emit.ts";
import { pad } from "./pad.ts";
import { parameter } from "./parameter.ts";

const repvgg = () => {
  const rng = createRng(1);
  const dense = convOfInput(rng, { inC: 4, outC: 4, kernel: 3, pads: [1, 1], group: 2 });
  const pointwise = convOfInput(rng, { inC: 4, outC: 4, kernel: 1, group: 2 });
  return accepted(add(accepted(add(dense, pointwise)), inputAffine(4, 1)));
};

test("a RepVGG block becomes its dense branch's convolution", () => {
  const e = emission(repvgg());
  expect(e).toEqual({
    outC: 4,
    inC: 4,
    group: 2,
    kernelShape: [3],
    strides: [1],
    dilations: [1],
    beginPads: [1],
    endPads: [1],
    beginCrops: [0],
    endCrops: [0],
  });
  expect(weightShape(e)).toEqual([4, 2, 3]);
});

test("the emitted convolution is the value", async () => {
  const v = repvgg();
  const e = emission(v);
  const rows = await emittedRows(v, e, 0, 4, true);
  const bias = await v.biases();
  const x = randomSignal(createRng(2), 4, 7);
  const conv = {
    outC: e.outC,
    group: e.group,
    axes: [{ kernel: 3, stride: 1, dilation: 1, beginPad: 1, endPad: 1 }],
    weight: parameter("w", rows.values),
    bias: parameter("b", bias.values),
  };
  expect(await convSignal(x, conv)).toEqual(await evaluate(v, x));
  expect(await evaluate(accepted(convolve(inputAffine(4, 1), conv)), x)).toEqual(
    await evaluate(v, x),
  );
});

test("rows narrower than their block are placed in it", async () => {
  // The identity stored in rows of two groups: channel 1 of block {0, 1}, channel 2 of block {2, 3}.
  const v = inputAffine(4, 1);
  const e = { ...emission(v), group: 2 };
  const { values, bounds } = await emittedRows(v, e, 1, 3, true);
  expect([...values]).toEqual([0, 1, 1, 0]);
  expect([...bounds]).toEqual([0, 1, 1, 0]);
});

test("dilation is emitted where all taps allow it", () => {
  const dilated = convOfInput(createRng(3), {
    inC: 1,
    outC: 1,
    kernel: 3,
    dilation: 4,
    pads: [4, 4],
  });
  const e = emission(accepted(add(dilated, inputAffine(1, 1))));
  expect([e.kernelShape, e.dilations, e.beginPads, e.endPads]).toEqual([[3], [4], [4], [4]]);
});

test("a value that starts inside the input crops it", () => {
  const e = emission(accepted(pad(inputAffine(1, 1), [-2], [-1], "zero")));
  expect([e.beginCrops, e.endCrops, e.beginPads, e.endPads]).toEqual([[2], [1], [0], [0]]);
});
