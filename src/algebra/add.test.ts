import { expect, test } from "vitest";
import { accepted, convOfInput, evaluate, randomSignal } from "../../test/support/affine-values.ts";
import { createRng } from "../core/rng.ts";
import { add, subtract } from "./add.ts";
import { inputAffine } from "./affine.ts";

/** RepVGG's three branches, grouped. */
function branches(group: number, stride = 1) {
  const rng = createRng(2);
  const shape = { inC: 4, outC: 4, group, stride };
  return [
    convOfInput(rng, { ...shape, kernel: 3, pads: [1, 1] }),
    convOfInput(rng, { ...shape, kernel: 1 }),
    inputAffine(4, 1),
  ] as const;
}

test.each([1, 2, 4])(
  "adds dense, pointwise and identity branches exactly, group %i",
  async (group) => {
    const [dense, pointwise, identity] = branches(group);
    const x = randomSignal(createRng(3), 4, 7);
    const parts = await Promise.all([dense, pointwise, identity].map((v) => evaluate(v, x)));
    const expected = parts[0]!.map((row, o) =>
      row.map((_, i) => parts.reduce((s, p) => s + p[o]![i]!, 0)),
    );
    const sum = accepted(add(accepted(add(dense, pointwise)), identity));
    expect(await evaluate(sum, x)).toEqual(expected);
    // The identity first: its layout is the smaller one, so both are embedded.
    const other = accepted(add(identity, accepted(add(pointwise, dense))));
    expect(await evaluate(other, x)).toEqual(expected);
    expect(sum.support.width).toBe(4 / group);
  },
);

test("different dilations meet on the union of their taps", async () => {
  const rng = createRng(4);
  const wide = convOfInput(rng, { inC: 1, outC: 1, kernel: 3, dilation: 3, pads: [3, 3] });
  const narrow = convOfInput(rng, { inC: 1, outC: 1, kernel: 3, dilation: 2, pads: [2, 2] });
  const x = randomSignal(rng, 1, 12);
  const [a, b] = [await evaluate(wide, x), await evaluate(narrow, x)];
  const sum = accepted(add(wide, narrow));
  expect(await evaluate(sum, x)).toEqual([a[0]!.map((value, i) => value + b[0]![i]!)]);
  expect(sum.axes[0]!.taps).toEqual({ start: -3, step: 1, count: 7 }); // {−3, 0, 3} ∪ {−2, 0, 2}
});

test("subtracts", async () => {
  const [dense, pointwise] = branches(2);
  const x = randomSignal(createRng(5), 4, 6);
  const [a, b] = [await evaluate(dense, x), await evaluate(pointwise, x)];
  const result = await evaluate(accepted(subtract(dense, pointwise)), x);
  expect(result).toEqual(a.map((row, o) => row.map((value, i) => value - b[o]![i]!)));
});

test("the branches are left as they were", async () => {
  const [dense, pointwise] = branches(1);
  const before = await dense.weights(0, 4, true);
  await accepted(add(dense, pointwise)).weights(0, 4, true);
  expect(await dense.weights(0, 4, true)).toEqual(before);
});

test("refuses branches that do not lie on each other", () => {
  const rng = createRng(6);
  const dense = convOfInput(rng, { inC: 2, outC: 2, kernel: 3, pads: [1, 1] });
  const cases = [
    [convOfInput(rng, { inC: 2, outC: 3, kernel: 1 }), "the branches have 2 and 3 channels"],
    [
      convOfInput(rng, { inC: 2, outC: 2, kernel: 1, stride: 2 }),
      "the branches have strides 1 and 2",
    ],
    [inputAffine(2, 2), "the branches have 1 and 2 spatial axes"],
    [
      // A pointwise branch beside an unpadded 3-kernel: e = 0 against e = −2.
      convOfInput(rng, { inC: 2, outC: 2, kernel: 3 }),
      "the branches cover different output sizes (end slack 0 and -2): their paddings do not match their kernels",
    ],
  ] as const;
  for (const [other, refused] of cases) expect(add(dense, other)).toEqual({ refused });
});

test("a fixed input length can make equal what is not equal in general", async () => {
  const rng = createRng(7);
  // Stride 2 from 5: ⌊(5 − 1 + e)/2⌋ + 1 = 3 for e = 0 and e = 1.
  const a = convOfInput(rng, { inC: 1, outC: 1, kernel: 1, stride: 2 }, 5);
  const b = convOfInput(rng, { inC: 1, outC: 1, kernel: 2, stride: 2, pads: [0, 2] }, 5);
  expect([a.axes[0]!.slack, b.axes[0]!.slack]).toEqual([0, 1]);
  const x = randomSignal(rng, 1, 5);
  const [p, q] = [await evaluate(a, x), await evaluate(b, x)];
  const sum = await evaluate(accepted(add(a, b)), x);
  expect(sum).toEqual([p[0]!.map((value, i) => value + q[0]![i]!)]);
});

test("each sum rounds once more", () => {
  const [dense, pointwise, identity] = branches(1);
  const sum = accepted(add(accepted(add(dense, pointwise)), identity));
  expect(sum.roundings).toEqual({ weight: 2, bias: 1 }); // the identity has no bias to add
});
