/**
 * @file Prepared rows are the rows that the algebra computes: over small integers and power-of-two scales both are
 * exact, so they are compared with `toEqual`.
 */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { integers, randomConv } from "../../test/support/affine-values.ts";
import { createMemory } from "../core/memory.ts";
import { createRng, type Rng } from "../core/rng.ts";
import { add } from "./add.ts";
import { type Affine, inputAffine, isRefused, type Refused } from "./affine.ts";
import { concatChannels, selectChannels } from "./channels.ts";
import { convolve } from "./convolve.ts";
import { emission, emittedRows } from "./emit.ts";
import { noteStored, type Parameter, parameter } from "./parameter.ts";
import { prepareRows } from "./prepare-rows.ts";
import { negate, scale, shift } from "./scale-shift.ts";
import { termsOf } from "./terms.ts";

function sound(v: Affine | Refused): Affine {
  if (isRefused(v)) throw new Error(v.refused);
  return v;
}

/** Powers of two of both signs: products with them are exact. */
function dyadic(rng: Rng, count: number): Parameter {
  const values = Array.from(
    { length: count },
    () => 2 ** rng.integer(4) * (rng.next() < 0.5 ? -1 : 1),
  );
  return parameter("s", values);
}

/** As a float32 file gives it: a view, without a copy. */
function asStored(p: Parameter): Parameter {
  const all = p.read(0, p.length).then((values) => Float32Array.from(values));
  const read: Parameter["read"] = async (begin, end) =>
    Float64Array.from((await all).subarray(begin, end));
  return { ...p, read: noteStored(read, async (begin, end) => (await all).subarray(begin, end)) };
}

interface Shape {
  readonly seed: number;
  readonly perGroup: number;
  readonly group: number;
  readonly begin: number;
  readonly end: number;
}

/** 3-kernel, 1-kernel and identity, each scaled, added up, and the sum scaled again. */
function block({ seed, perGroup, group }: Shape): Affine {
  const rng = createRng(seed);
  const channels = perGroup * group;
  const x = inputAffine(channels, 1);
  const branch = (kernel: number, pads: readonly [number, number]): Affine => {
    const conv = randomConv(rng, { inC: channels, outC: channels, kernel, group, pads });
    return scale(
      sound(convolve(x, { ...conv, weight: asStored(conv.weight) })),
      dyadic(rng, channels),
    );
  };
  const dense = branch(3, [1, 1]);
  const pointwise = branch(1, [0, 0]);
  const sum = sound(add(sound(add(pointwise, dense)), scale(x, dyadic(rng, channels))));
  return scale(sum, dyadic(rng, channels));
}

async function expectSameRows(v: Affine, begin: number, end: number): Promise<void> {
  const e = emission(v);
  const expected = await emittedRows(v, e, begin, end, true);
  for (const memory of [undefined, createMemory()]) {
    const rows = await prepareRows(v, e, begin, end, { memory });
    const size = (end - begin) * rows.rowSize;
    expect(size).toBe(expected.values.length);
    const values = new Float64Array(size).fill(99);
    const bounds = new Float64Array(size).fill(99);
    rows.compute(begin, end, values, bounds);
    // Adding 0 makes −0 a 0: where no kernel has a number, scaling may or may not have turned its sign.
    expect(values.map((value) => value + 0)).toEqual(expected.values.map((value) => value + 0));
    expect(bounds).toEqual(expected.bounds);
    for (let o = begin; o < end; o++) {
      const row = new Float64Array(rows.rowSize);
      rows.compute(o, o + 1, row, undefined);
      expect(row).toEqual(
        values.subarray((o - begin) * rows.rowSize, (o - begin + 1) * rows.rowSize),
      );
    }
  }
}

const shapes = fc
  .record({
    seed: fc.integer({ min: 1, max: 1e6 }),
    perGroup: fc.integer({ min: 1, max: 4 }),
    group: fc.integer({ min: 1, max: 3 }),
    from: fc.nat(),
    count: fc.nat(),
  })
  .map(({ seed, perGroup, group, from, count }): Shape => {
    const channels = perGroup * group;
    const begin = from % channels;
    return { seed, perGroup, group, begin, end: begin + 1 + (count % (channels - begin)) };
  });

test("sums of scaled kernels: any groups, any rows", async () => {
  await fc.assert(
    fc.asyncProperty(shapes, async (shape) => {
      const v = block(shape);
      expect(termsOf(v)).toHaveLength(3);
      await expectSameRows(v, shape.begin, shape.end);
    }),
    { seed: 7, numRuns: 200 },
  );
});

describe("values that are made in another way", () => {
  const rng = createRng(3);
  const v = block({ seed: 2, perGroup: 2, group: 2, begin: 0, end: 4 });
  const conv = randomConv(rng, { inC: 4, outC: 3, kernel: 1 });

  test.each<[string, Affine]>([
    ["a chain of convolutions", sound(convolve(v, conv))],
    ["the negative", negate(v)],
    ["chosen channels", sound(selectChannels(v, [3, 1, 1]))],
    ["channels side by side", sound(concatChannels([v, v]))],
  ])("%s: no terms are taken over from what it is made of", async (_, made) => {
    expect(termsOf(made)).toBeUndefined();
    await expectSameRows(made, 0, made.outC);
  });

  test("a shift keeps the weight, and so its terms", async () => {
    const shifted = shift(v, parameter("c", integers(rng, 4)));
    expect(termsOf(shifted)).toBe(termsOf(v));
    await expectSameRows(shifted, 1, 4);
  });
});

test("a number that is not finite is traced to the stored tensor", async () => {
  const rng = createRng(5);
  const conv = randomConv(rng, { inC: 2, outC: 2, kernel: 1 });
  const careful: Parameter["read"] = async () => {
    throw new Error("w: element 1 is not a finite number");
  };
  const read = noteStored(careful, async () => Float32Array.of(1, Number.NaN, 2, 3));
  const v = sound(convolve(inputAffine(2, 1), { ...conv, weight: { ...conv.weight, read } }));
  const rows = await prepareRows(v, emission(v), 0, 2);
  const values = new Float64Array(4);
  rows.compute(0, 2, values, undefined);
  expect(values[1]).toBeNaN();
  await expect(rows.assertStoredFinite()).rejects.toThrow("w: element 1");
});
