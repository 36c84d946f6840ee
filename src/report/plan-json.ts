/** @file The document of `reparam plan --json`. See docs/json.md. */

import { nodeLabel } from "../ir/graph.ts";
import { blockFacts, regionFacts } from "./conversion-text.ts";
import type { PlanResult } from "./result.ts";

export function planJson(result: PlanResult): object {
  const base = { schema: "reparam.plan/1", input: result.input, kind: result.kind };
  if (result.kind === "checkpoint") {
    const { blocks, passed, dropped, notes, form } = result.plan;
    return {
      ...base,
      form,
      blocks: blocks.map((block) => ({
        ...blockFacts(block, result.layout),
        family: block.match.family.name,
        weight: block.weightName,
        bias: block.biasName,
        epsilon: block.block.epsilon,
      })),
      passed,
      dropped,
      notes,
    };
  }
  return {
    ...base,
    regions: result.plan.regions.map((region) => ({
      ...regionFacts(region),
      input: region.input,
      output: region.output,
      nodes: region.nodes.map(nodeLabel),
      before: region.before,
      after: region.after,
      k: region.affine.roundings,
    })),
    refusals: result.plan.refusals.map(({ output, nodes, reason }) => ({
      output,
      nodes: nodes.map(nodeLabel),
      reason,
    })),
  };
}
