import { expect, test } from "vitest";
import { accepted, convOfInput, evaluate, randomSignal } from "../../test/support/affine-values.ts";
import { createRng } from "../core/rng.ts";
import { inputAffine } from "./affine.ts";
import { concatChannels, selectChannels } from "./channels.ts";

const x = randomSignal(createRng(1), 4, 6);
const dense = () => convOfInput(createRng(2), { inC: 4, outC: 2, kernel: 3, pads: [1, 1] });
const grouped = () => convOfInput(createRng(3), { inC: 4, outC: 4, kernel: 1, group: 2 });

test("stacks channels of parts with different kernels and groups", async () => {
  const parts = [dense(), grouped(), inputAffine(4, 1)];
  const stacked = accepted(concatChannels(parts));
  const expected = (await Promise.all(parts.map((part) => evaluate(part, x)))).flat();
  expect(await evaluate(stacked, x)).toEqual(expected);
  // Rows in the middle, across a boundary between parts.
  const all = await stacked.weights(0, 10, true);
  const size = all.values.length / 10;
  const some = await stacked.weights(1, 7, true);
  expect(some.values).toEqual(all.values.slice(size, 7 * size));
  expect(some.bounds).toEqual(all.bounds.slice(size, 7 * size));
});

test("chooses channels in any order, repeated ones too", async () => {
  const all = await evaluate(grouped(), x);
  const indices = [3, 0, 1, 1];
  const chosen = await evaluate(accepted(selectChannels(grouped(), indices)), x);
  expect(chosen).toEqual(indices.map((c) => all[c]));
});

test("refuses what does not lie side by side", () => {
  const strided = convOfInput(createRng(3), { inC: 4, outC: 2, kernel: 1, stride: 2 });
  const refused = "the concatenated values have different strides or output sizes";
  expect(concatChannels([dense(), strided])).toEqual({ refused });
  expect(concatChannels([dense(), inputAffine(4, 2)])).toEqual({ refused });
  expect(concatChannels([])).toEqual({ refused: "a concatenation of nothing" });
});

test("refuses channels that are not there", () => {
  for (const index of [-1, 4]) {
    expect(selectChannels(grouped(), [0, index])).toEqual({
      refused: "a channel index lies outside the 4 channels",
    });
  }
});
