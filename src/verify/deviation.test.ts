import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { float32Tensor, lazyTensor } from "../core/tensor.ts";
import { deviation, roundingUnit, type Unit } from "./deviation.ts";
import { type Kernel, storedKernel } from "./kernel.ts";
import { createTally } from "./tally.ts";

const U = 2 ** -24;
const unit = { weight: roundingUnit("float32"), bias: roundingUnit("float32") };

function kernel(
  shape: readonly number[],
  weight: readonly number[],
  bias?: readonly number[],
): Kernel {
  return storedKernel(
    "k.weight",
    lazyTensor(float32Tensor(shape, weight)),
    bias && "k.bias",
    bias && lazyTensor(float32Tensor([bias.length], bias)),
  );
}

/** A kernel whose sums of magnitudes are `bounds`: what branches that cancel each other leave. */
function summed(
  shape: readonly number[],
  values: readonly number[],
  bounds: readonly number[],
): Kernel {
  const rowSize = values.length / shape[0]!;
  return {
    ...kernel(shape, values),
    prepare: async (begin) => ({
      rowSize,
      assertStoredFinite: async () => undefined,
      compute: (from, to, into, limits) => {
        const range = [(from - begin) * rowSize, (to - begin) * rowSize] as const;
        into.set(values.slice(...range));
        limits?.set(bounds.slice(...range));
      },
    }),
  };
}

describe("ω", () => {
  test("is the error in units of 2⁻²⁴ of the magnitudes", async () => {
    // 1 + 2⁻²³ is two units of 2⁻²⁴ from 1.
    const { weight } = await deviation(kernel([1, 1], [1]), kernel([1, 1], [1 + 2 * U]), unit);
    expect(weight.omega).toBe(2 / (1 + 2 ** -125)); // η = 2⁻¹⁴⁹ beside u = 2⁻²⁴
    expect(weight.maxAbsError).toBe(2 * U);
    expect(weight.worst).toEqual({ index: 0, found: 1 + 2 * U, expected: 1 });
  });

  test("counts the magnitudes that were summed, not what is left of them", async () => {
    // 8 − 7 = 1 made of A = 15: an error of 6u is 6/15 of a rounding, although it is 6 roundings of the 1 that is left.
    const found = kernel([1, 1], [1 + 6 * U]);
    const { weight } = await deviation(summed([1, 1], [1], [15]), found, unit);
    expect(weight.omega).toBeCloseTo(6 / 15, 12);
  });

  test("up to one rounding of the number itself asks for no magnitudes", async () => {
    const asked: boolean[] = [];
    const exact = summed([2, 1], [1, 3], [1, 3]);
    const watched: Kernel = {
      ...exact,
      prepare: async (begin, end) => {
        const rows = await exact.prepare(begin, end);
        return {
          ...rows,
          compute: (from, to, values, bounds) => {
            asked.push(bounds !== undefined);
            rows.compute(from, to, values, bounds);
          },
        };
      },
    };
    // The next float32 below 1 is 2⁻²⁴ away: exactly one rounding.
    const near = await deviation(watched, kernel([2, 1], [1 - U, 3]), unit);
    expect(near.weight.omega).toBeLessThanOrEqual(1);
    expect(asked).not.toContain(true);
    await deviation(watched, kernel([2, 1], [1 + 2 * U, 3]), unit);
    expect(asked).toContain(true);
  });

  test("is kept per output channel", async () => {
    const { weight } = await deviation(
      kernel([3, 2], [1, 1, 1, 1, 1, 1]),
      kernel([3, 2], [1, 1, 1, 1 + 4 * U, 1, 1]),
      unit,
    );
    expect([...weight.channels].map((omega) => Math.round(omega))).toEqual([0, 4, 0]);
  });

  test("a subnormal is measured by the smallest subnormal", async () => {
    const { weight } = await deviation(kernel([1, 1], [0]), kernel([1, 1], [2 ** -149]), unit);
    expect(weight.omega).toBe(1);
  });

  test("is infinite for NaN and infinities", async () => {
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const { weight, bias } = await deviation(
        kernel([1, 1], [1], [1]),
        kernel([1, 1], [wrong], [wrong]),
        unit,
      );
      expect(weight.omega).toBe(Number.POSITIVE_INFINITY);
      expect(bias.omega).toBe(Number.POSITIVE_INFINITY);
    }
  });

  test("a bias is compared with zeros where one side has none", async () => {
    const { bias } = await deviation(kernel([1, 1], [1], [0]), kernel([1, 1], [1]), unit);
    expect(bias.omega).toBe(0);
  });

  test("an empty kernel differs in nothing", async () => {
    const { weight } = await deviation(kernel([0, 3], []), kernel([0, 3], []), unit);
    expect(weight).toMatchObject({ omega: 0, relativeL2: 0, worst: undefined });
  });
});

test("rows of any number and size give what one loop over all numbers gives", async () => {
  const rows = fc.integer({ min: 1, max: 9 });
  const size = fc.integer({ min: 1, max: 9 });
  const number = fc.float({ noNaN: true, noDefaultInfinity: true, min: -4, max: 4 });
  await fc.assert(
    fc.asyncProperty(rows, size, fc.infiniteStream(number), async (outC, width, stream) => {
      const take = (): number[] => Array.from({ length: outC * width }, () => stream.next().value);
      const [exact, extra] = [take(), take()];
      const steps = take().map((x) => Math.round(x));
      const bounds = exact.map((value, i) => Math.abs(value) + Math.abs(extra[i]!));
      const found = exact.map((value, i) => Math.fround(value + steps[i]! * U * Math.abs(value)));
      const { weight } = await deviation(
        summed([outC, width], exact, bounds),
        kernel([outC, width], found),
        unit,
      );
      const ratios = exact.map(
        (value, i) => Math.abs(found[i]! - value) / (U * bounds[i]! + 2 ** -149),
      );
      const truth = Math.max(0, ...ratios);
      // Up to 1 the reported ω may be larger than the true one, never smaller; above 1 it is the true one.
      expect(weight.omega).toBeGreaterThanOrEqual(Math.min(truth, 1) * (1 - 2 ** -50));
      if (weight.omega > 1) expect(weight.omega).toBeCloseTo(truth, 9);
      else expect(truth).toBeLessThanOrEqual(1);
      expect(weight.channels).toHaveLength(outC);
      expect(Math.max(...weight.channels)).toBe(weight.omega);
    }),
    { seed: 23, numRuns: 300 },
  );
});

test("a tally of a unit that is no rounding asks for bounds always", () => {
  const grid: Unit = { at: () => 0.5 };
  const tally = createTally(grid, 1, 2);
  tally.add(
    Float64Array.of(1, 2),
    Float64Array.of(1.25, 2),
    { rows: 1, first: 0 },
    () => new Float64Array(2),
  );
  expect(tally.result()).toMatchObject({
    omega: 0.5, // 0.25 of a grid step of 0.5
    maxAbsError: 0.25,
    relativeL2: 0.25 / Math.sqrt(5),
  });
});
