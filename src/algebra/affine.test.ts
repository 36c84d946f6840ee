import fc from "fast-check";
import { expect, test } from "vitest";
import { convOfInput, evaluate, integers, randomSignal } from "../../test/support/affine-values.ts";
import { createRng } from "../core/rng.ts";
import { commonAxis, fixedLength, inputAffine, isConstantOutside, sameLength } from "./affine.ts";
import { taps } from "./taps.ts";

test("the input is itself", async () => {
  const x = randomSignal(createRng(1), 3, 5);
  expect(await evaluate(inputAffine(3, 1), x)).toEqual(x);
});

test("a value is called constant outside only if its formula is, right behind both ends, for every length", async () => {
  const wish = fc.record({
    kernel: fc.integer({ min: 1, max: 4 }),
    stride: fc.integer({ min: 1, max: 3 }),
    begin: fc.integer({ min: 0, max: 2 }),
    end: fc.integer({ min: 0, max: 2 }),
    fixed: fc.boolean(),
    seed: fc.nat(),
  });
  let constant = 0;
  await fc.assert(
    fc.asyncProperty(wish, async ({ kernel, stride, begin, end, fixed, seed }) => {
      for (const length of [9, 10, 11, 12]) {
        const size = fixed ? length : undefined;
        const shape = { inC: 1, outC: 1, kernel, stride, pads: [begin, end] as const, bias: false };
        const v = convOfInput(createRng(seed), shape, size);
        if (!isConstantOutside(v.axes[0]!)) continue;
        constant++;
        const x = [integers(createRng(seed + 1), length)];
        // The same formula over a domain one longer at either end.
        const [axis] = v.axes;
        const wider = {
          ...v,
          axes: [
            {
              ...axis!,
              taps: { ...axis!.taps, start: axis!.taps.start - stride },
              slack: axis!.slack + 2 * stride,
            },
          ],
        };
        const [row] = await evaluate(wider, x);
        expect([row![0], row!.at(-1)]).toEqual([0, 0]);
      }
    }),
    { seed: 11 },
  );
  expect(constant).toBeGreaterThan(50);
});

test("a strided pooling is constant outside where the fixed length leaves no rest", () => {
  // Two taps, stride 2: for odd H a column is left over, for H = 28 none is.
  const axis = { taps: taps(0, 1, 2), stride: 2, slack: -1 };
  expect(isConstantOutside(axis)).toBe(false);
  expect(isConstantOutside({ ...axis, size: 28 })).toBe(true);
  expect(isConstantOutside({ ...axis, size: 27 })).toBe(false);
});

test("lengths agree by slack, or by number where the input length is fixed", () => {
  const a = { taps: taps(0, 0, 1), stride: 2, slack: 0 };
  const b = { taps: taps(0, 0, 1), stride: 2, slack: 1 };
  expect(sameLength(a, a)).toBe(true);
  expect(sameLength(a, b)).toBe(false); // H = 4: ⌊3/2⌋ + 1 = 2 and ⌊4/2⌋ + 1 = 3
  expect(sameLength({ ...a, size: 5 }, { ...b, size: 5 })).toBe(true); // ⌊4/2⌋ + 1 = ⌊5/2⌋ + 1 = 3
  expect(sameLength({ ...a, size: 4 }, { ...b, size: 4 })).toBe(false);
  expect(sameLength(a, { ...a, stride: 1 })).toBe(false);
  expect(commonAxis({ ...a, size: 5 }, { ...b, size: 5 }).slack).toBe(1);
  expect(fixedLength({ ...a, size: 5 })).toBe(3);
});
