/** @file Plans and fuses a test's model and compares both forms in float64, borders included. */

import { expect } from "vitest";
import { createRng } from "../../src/core/rng.ts";
import type { Model } from "../../src/ir/graph.ts";
import { type AppliedPlan, applyPlan } from "../../src/rewrite/apply.ts";
import { type Plan, type PlanOptions, planReparam } from "../../src/rewrite/plan.ts";
import { dense, evaluateNaive } from "./naive-graph.ts";

export interface Fused extends AppliedPlan {
  readonly plan: Plan;
}

/** Largest absolute difference of any output for whole-number inputs; infinite when a shape differs. */
export async function difference(
  before: Model,
  after: Model,
  sizes: readonly number[],
): Promise<number> {
  const rng = createRng(5);
  const channels = before.graph.inputs[0]!.shape![1] as number;
  const x = dense([2, channels, ...sizes], () => rng.integer(9) - 4);
  const expected = await evaluateNaive(before.graph, new Map([["x", x]]));
  const found = await evaluateNaive(after.graph, new Map([["x", x]]));
  let worst = 0;
  for (const { name } of before.graph.outputs) {
    const [a, b] = [expected.get(name)!, found.get(name)!];
    if (a.shape.join() !== b.shape.join()) return Number.POSITIVE_INFINITY;
    for (let i = 0; i < a.data.length; i++) {
      worst = Math.max(worst, Math.abs(a.data[i]! - b.data[i]!));
    }
  }
  return worst;
}

/**
 * Expects `model` to fuse to `regions` regions that compute the same. With the whole numbers of `graph-parts.ts` every
 * sum is exact, so the difference is 0; `tolerance` is for tests with other numbers.
 */
export async function expectFused(
  model: Model,
  regions: number,
  options: PlanOptions & { readonly sizes?: readonly number[]; readonly tolerance?: number } = {},
): Promise<Fused> {
  const { sizes = [7, 8], tolerance = 0, ...planOptions } = options;
  const plan = await planReparam(model, planOptions);
  expect(plan.refusals.map(({ reason }) => reason)).toEqual([]);
  expect(plan.regions).toHaveLength(regions);
  const applied = applyPlan(model, plan);
  expect(await difference(model, applied.model, sizes)).toBeLessThanOrEqual(tolerance);
  return { ...applied, plan };
}

/** Expects nothing to be fused, and the reasons that are given. */
export async function expectRefused(
  model: Model,
  reasons: readonly (string | RegExp)[],
  options: PlanOptions = {},
): Promise<Plan> {
  const plan = await planReparam(model, options);
  expect(plan.regions.map(({ output }) => output)).toEqual([]);
  expect(plan.refusals).toHaveLength(reasons.length);
  for (const [i, reason] of reasons.entries()) {
    expect(plan.refusals[i]!.reason).toEqual(
      typeof reason === "string" ? reason : expect.stringMatching(reason),
    );
  }
  return plan;
}
