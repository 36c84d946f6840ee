import fc from "fast-check";
import { expect, test } from "vitest";
import { leastSquares } from "./least-squares.ts";

const f = (...values: number[]): Float64Array => Float64Array.from(values);

test("two columns, solved by hand", () => {
  // 2·(1, 0, 1) + 3·(0, 1, 1) = (2, 3, 5)
  const fit = leastSquares([f(1, 0, 1), f(0, 1, 1)], f(2, 3, 5));
  expect([...fit.coefficients].map((a) => Math.round(a * 1e12) / 1e12)).toEqual([2, 3]);
  expect(fit.residual).toBeLessThan(1e-15);
});

test("what no column reaches is the residual", () => {
  // (3, 4) against (1, 0): 3 is explained, 4 of length 5 is not.
  expect(leastSquares([f(1, 0)], f(3, 4)).residual).toBeCloseTo(0.8, 14);
});

test("a multiple of an earlier column and a zero column are dependent", () => {
  const fit = leastSquares([f(1, 2, 3), f(2, 4, 6), f(0, 0, 0)], f(2, 4, 6));
  expect(fit.dependent).toEqual([1, 2]);
  expect(fit.coefficients[0]).toBeCloseTo(2, 14);
  expect(fit.coefficients[1]).toBeNaN();
});

test("sensitivity and reach, by hand", () => {
  // q₁ = (1, 0, 0), q₂ = (0, 0, 1), R = [1 1; 0 1], R⁻¹ = [1 −1; 0 1]
  const fit = leastSquares([f(1, 0, 0), f(1, 0, 1)], f(1, 2, 3));
  expect([...fit.sensitivity]).toEqual([Math.SQRT2, 1]);
  expect([0, 1, 2].map(fit.reach)).toEqual([1, 0, 1]);
  expect(fit.rest).toBe(2);
});

test("a zero target needs nothing and leaves nothing", () => {
  const fit = leastSquares([f(1, 2)], f(0, 0));
  expect([fit.coefficients[0], fit.residual]).toEqual([0, 0]);
});

test("coefficients of random columns come back (seed 7)", () => {
  const number = fc.double({ min: -4, max: 4, noNaN: true });
  const column = fc.array(number, { minLength: 24, maxLength: 24 }).map((values) => f(...values));
  fc.assert(
    fc.property(fc.array(fc.tuple(column, number), { minLength: 1, maxLength: 5 }), (parts) => {
      const target = new Float64Array(24);
      for (const [values, a] of parts) {
        for (const [i, value] of values.entries()) target[i] = target[i]! + a * value;
      }
      const fit = leastSquares(
        parts.map(([values]) => values),
        target,
      );
      // Whatever the columns are, their own combination is reached: 2⁻²⁰ where one is all but dependent.
      return fit.residual <= 2 ** -20;
    }),
    { seed: 7, numRuns: 200 },
  );
});
