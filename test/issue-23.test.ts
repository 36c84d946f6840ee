/** @file The example on RepVGG issue 23 with its small net: what it says holds. */

import { expect, test } from "vitest";
import { compareInitialisations, issueTable, type Row } from "../examples/issue-23.ts";

const rows = await compareInitialisations("small", 32, 3);
const output = (row: Row) => row.result.whole!.outputs[0]!;

test("four rows, net by net, all exact", () => {
  expect(rows.map((row) => [row.net, row.initialisation])).toEqual([
    ["one block, 32 → 64, 8 groups", "γ = 1, β = 0"],
    ["one block, 32 → 64, 8 groups", "γ = β = 0.01"],
    ["small", "γ = 1, β = 0"],
    ["small", "γ = β = 0.01"],
  ]);
  for (const { result } of rows) {
    expect(result.verdict.word).toBe("EXACT-FOLD");
    expect(result.weights.maxOmega).toBeLessThanOrEqual(1);
  }
});

test("the absolute difference depends on the initialisation, the one in units of noise does not", () => {
  const [, , one, hundredth] = rows.map(output);
  // The second one's activations are a few hundredths in size instead of tens.
  expect(one!.metrics.l2 / hundredth!.metrics.l2).toBeGreaterThan(100);
  expect(one!.metrics.allclose1e8).toBe(false);
  expect(hundredth!.metrics.allclose1e8).toBe(true);
  for (const { metrics, noiseFloor } of rows.map(output)) {
    // Both forms are one float32 run away from the truth: their distance is of the size of that run's error.
    expect(metrics.relativeL2 / noiseFloor).toBeGreaterThan(1 / 4);
    expect(metrics.relativeL2 / noiseFloor).toBeLessThan(4);
  }
});

test("the table has a line per row", () => {
  const [head, ...lines] = issueTable(rows);
  expect(head).toMatch(
    /^net +batch norm +max \|y\| +L2 +allclose 1e-8 +relative L2 +noise floor +ω +verdict$/,
  );
  expect(lines).toHaveLength(4);
  expect(lines[3]).toMatch(/^small +γ = β = 0\.01 .* yes .* EXACT-FOLD$/);
});
