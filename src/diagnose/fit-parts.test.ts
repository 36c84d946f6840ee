import { expect, test } from "vitest";
import { createRng } from "../core/rng.ts";
import { fitParts, type Part } from "./fit-parts.ts";
import type { Tolerance } from "./samples.ts";

const rng = createRng(17);
const K = 6;
const tolerance: Tolerance = {
  k: { weight: K, bias: K },
  unit: 2 ** -24,
  floor: 2 ** -149,
  grid: undefined,
  gridStep: 0,
  gridFloor: 0,
};

function part(size: number, make: () => number = () => rng.normal()): Part {
  const values = Float64Array.from({ length: size }, make);
  return { values, bounds: values.map(Math.abs) };
}

function mixed(parts: readonly Part[], factors: readonly number[]): Float64Array {
  return parts[0]!.values.map((_, i) =>
    parts.reduce((sum, { values }, j) => sum + factors[j]! * values[i]!, 0),
  );
}

function bounds(parts: readonly Part[], factors: readonly number[]): Float64Array {
  return parts[0]!.bounds.map((_, i) =>
    parts.reduce((sum, part, j) => sum + Math.abs(factors[j]! * part.bounds[i]!), 0),
  );
}

test("a sum rounded k times in the worst way is within the span, to every number and coefficient", () => {
  for (let run = 0; run < 200; run++) {
    const parts = [part(9), part(9, () => (rng.next() < 0.2 ? 1 : 0)), part(9)];
    const factors = [1, -0.5 + rng.next(), 3 * rng.next()];
    const own = bounds(parts, factors);
    const target = mixed(parts, factors).map(
      (value, i) => value + (rng.next() < 0.5 ? -1 : 1) * K * 2 ** -24 * own[i]!,
    );
    const fit = fitParts(parts, target, tolerance, own);
    expect(fit.inSpan).toBe(true);
    expect(fit.omega()).toBeLessThanOrEqual(K);
    for (const [j, a] of fit.coefficients.entries()) {
      if (!Number.isNaN(a))
        expect(Math.abs(a - factors[j]!)).toBeLessThanOrEqual(fit.uncertainty[j]!);
    }
  }
});

test("a thousandth of one number is no rounding", () => {
  const parts = [part(18), part(18)];
  const target = mixed(parts, [1, 1]);
  const own = bounds(parts, [1, 1]);
  expect(fitParts(parts, target, tolerance, own).inSpan).toBe(true);
  const at = target.reduce(
    (best, value, i) => (Math.abs(value) > Math.abs(target[best]!) ? i : best),
    0,
  );
  target[at]! *= 1.001;
  const fit = fitParts(parts, target, tolerance, own);
  expect(fit.inSpan).toBe(false);
  expect(fit.omega()).toBeGreaterThan(K);
});

test("parts that cancel and cannot be told apart count with their own size", () => {
  const one = part(9);
  const parts = [
    one,
    { values: one.values.map((v) => -v), bounds: one.bounds },
    part(9, () => 1e-3),
  ];
  const own = bounds(parts, [1, 1, 1]);
  // What is left of the two is their rounding.
  const target = mixed(parts, [1, 1, 1]).map(
    (v, i) => v + 4 * 2 ** -24 * own[i]! * (i % 2 ? 1 : -1),
  );
  expect(fitParts(parts, target, tolerance, own).inSpan).toBe(true);
  expect(fitParts(parts, target, tolerance, new Float64Array(9)).inSpan).toBe(false);
});
