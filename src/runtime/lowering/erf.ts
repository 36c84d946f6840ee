/**
 * @file Erf ⇒ a table and polynomials, since onnxruntime has no double Erf.
 *
 *     erf(c + t) = Σ_k a_k(c) · t^k        c = the multiple of 1/8 next to |x|, |t| ≤ 1/16
 *
 * Taylor's coefficients come from erf'(x) = 2/√π · e^(−x²) by the recurrence of its derivatives
 * (k+1)·g_{k+1} = −2·(c·g_k + g_{k−1}). Cut after degree 12, the rest is below 1.2 · 2^6 · √(12!)/13! · 16^−13 < 2^−63
 * (Cramér's bound of the Hermite polynomials); near 0 the polynomial is odd, so small arguments keep their relative
 * precision.
 * From |x| = 6 on, erf is 1 to the last bit (1 − erf(6) = 2.2e-17).
 */

import type { LoweringContext } from "./context.ts";

const STEPS_PER_UNIT = 8;
const LAST = 6;
const DEGREE = 12;

/** `erf(value)`, element by element. */
export function emitErf(ctx: LoweringContext, value: string, output?: string): string {
  const last = ctx.scalar(LAST);
  const magnitude = ctx.emit("Abs", [value]);
  // Where instead of Min: NaN compares false and becomes 6, a valid row of the table; it comes back at the end.
  const inRange = ctx.emit("Less", [magnitude, last]);
  const bounded = ctx.emit("Where", [inRange, magnitude, last]);
  const steps = ctx.emit("Round", [ctx.emit("Mul", [bounded, ctx.scalar(STEPS_PER_UNIT)])]);
  const rest = ctx.emit("Sub", [bounded, ctx.emit("Div", [steps, ctx.scalar(STEPS_PER_UNIT)])]);
  const row = ctx.emit("Cast", [steps], { to: 7 });
  const table = erfTable();
  const column = (k: number): string =>
    ctx.emit("Gather", [ctx.floats(table[k]!), row], { axis: 0 });
  let sum = column(DEGREE);
  for (let k = DEGREE - 1; k >= 0; k--) {
    sum = ctx.emit("Add", [ctx.emit("Mul", [sum, rest]), column(k)]);
  }
  const signed = ctx.emit("Mul", [sum, ctx.emit("Sign", [value])]);
  return ctx.emit("Where", [ctx.emit("IsNaN", [value]), value, signed], {}, output);
}

/** `table[k][row]`: the coefficient of t^k around c = row / 8. */
function erfTable(): Float64Array[] {
  const rows = LAST * STEPS_PER_UNIT + 1;
  const table = Array.from({ length: DEGREE + 1 }, () => new Float64Array(rows));
  for (let row = 0; row < rows; row++) {
    const c = row / STEPS_PER_UNIT;
    table[0]![row] = erf(c);
    // g = coefficients of the derivative's own series around c.
    let [before, current] = [0, (2 / Math.sqrt(Math.PI)) * Math.exp(-c * c)];
    for (let k = 0; k < DEGREE; k++) {
      table[k + 1]![row] = current / (k + 1);
      [before, current] = [current, (-2 * (c * current + before)) / (k + 1)];
    }
  }
  return table;
}

/**
 * erf(x) for x ≥ 0. Up to 2 by 2/√π · e^(−x²) · Σ 2^n x^(2n+1) / (2n+1)!!, all terms positive: no cancellation.
 * Beyond, 1 − erfc(x), with erfc's continued fraction x + ½/(x + 1/(x + 3/2/(x + …))) taken from its 80th level inward.
 */
export function erf(x: number): number {
  if (x > 2) {
    let fraction = x;
    for (let n = 80; n >= 1; n--) fraction = x + n / 2 / fraction;
    return 1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * fraction);
  }
  let [term, sum] = [x, x];
  for (let n = 1; term > sum * 2 ** -60; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
