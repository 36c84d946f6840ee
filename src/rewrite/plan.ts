/**
 * @file Which parts of a graph become one convolution each. Pure: nothing is changed, no weight is read beyond small
 * vectors; the result is data that `applyPlan`, the command line and the page show or act on.
 *
 * Every value that starts a linear part is taken as a region input, in topological order; `choose-regions.ts` says
 * which of what is affine in it is fused.
 */

import { throwIfAborted } from "../core/errors.ts";
import type { Model, Node } from "../ir/graph.ts";
import { inferShapes } from "../ir/infer-shapes.ts";
import { chooseRegions } from "./choose-regions.ts";
import { interpretCone } from "./interpret.ts";
import { createInterpreter, type Interpreter } from "./interpreter.ts";
import type { Plan, PlanOptions, Refusal, Region } from "./plan-types.ts";
import { normalizationRefusals, readableRefusals } from "./refusals.ts";
import { rootOf } from "./root.ts";
import { ruleOf } from "./rules/index.ts";
import { sharedKernels } from "./shared-kernels.ts";
import { graphTotals, totalsAfter } from "./totals.ts";

export type { GraphTotals, Plan, PlanOptions, Refusal, Region } from "./plan-types.ts";

/** Throws `bad-data` where the model contradicts itself, `aborted`. */
export async function planReparam(model: Model, options: PlanOptions = {}): Promise<Plan> {
  // No declared types of inner values: editors that make a size dynamic leave them stale.
  const types = await inferShapes(model, new Map());
  const opset = model.opsets.get("") ?? 0;
  const interpreter = await createInterpreter(model.graph, opset, types);
  const found: Region[] = [];
  const refusals: Refusal[] = [];
  const taken = new Set<Node>();
  const ends = new Set<string>();
  const roots = candidateRoots(interpreter);
  for (const [done, input] of roots.entries()) {
    throwIfAborted(options.signal);
    options.onProgress?.({ label: input, done, total: roots.length });
    const producer = interpreter.index.producer(input);
    const inside = producer && taken.has(producer) && !ends.has(input);
    const root = inside ? undefined : rootOf(interpreter, input);
    if (!root) continue;
    const cone = await interpretCone(interpreter, input, root);
    const choice = chooseRegions(interpreter, cone, root, taken, options.allowCostlier ?? false);
    for (const region of choice.regions) {
      found.push(region);
      ends.add(region.output);
      for (const node of region.nodes) taken.add(node);
    }
    refusals.push(...choice.refusals, ...readableRefusals(interpreter, cone));
  }
  const shared = options.allowCostlier ? [] : sharedKernels(interpreter, found);
  const dropped = new Set(shared.flatMap(({ regions }) => regions));
  const regions = found.filter((region) => !dropped.has(region));
  const fused = new Set(regions.flatMap(({ nodes }) => nodes));
  const partial = {
    regions,
    refusals: uniqueRefusals([
      // A joint that is fused after all, from a later value, needs no excuse.
      ...refusals.filter(({ nodes }) => !fused.has(nodes.at(-1)!)),
      ...shared.map(({ refusal }) => refusal),
      ...normalizationRefusals(interpreter, fused),
    ]),
  };
  return {
    ...partial,
    before: graphTotals(model.graph, types),
    after: totalsAfter(model, partial, types),
  };
}

/** Values that a linear operator reads: graph inputs first, then node outputs in topological order. */
function candidateRoots(interpreter: Interpreter): string[] {
  const { graph, index, constants } = interpreter;
  const values = [
    ...graph.inputs.map((input) => input.name),
    ...graph.nodes.flatMap((node) => node.outputs),
  ];
  return values.filter(
    (value) =>
      value !== "" && !constants.has(value) && index.uses(value).some((node) => ruleOf(node)),
  );
}

function uniqueRefusals(refusals: readonly Refusal[]): Refusal[] {
  const byOutput = new Map<string, Refusal>();
  for (const refusal of refusals) {
    if (!byOutput.has(refusal.output)) byOutput.set(refusal.output, refusal);
  }
  return [...byOutput.values()];
}
