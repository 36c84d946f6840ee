/** @file Places that both networks have: what a block makes in the training form and its convolution in the deploy form. */

import type { Model } from "../ir/graph.ts";
import { indexGraph } from "../ir/index-graph.ts";
import { planReparam, type Region } from "../rewrite/plan.ts";
import type { Kernel } from "./side.ts";
import type { Verification } from "./verify.ts";

export interface TapPair {
  readonly name: string;
  /** Value names in the two graphs. */
  readonly training: string;
  readonly deploy: string;
}

/** In the order of the blocks, then the outputs. */
export async function matchTaps(
  { weights }: Verification,
  training: Model,
  deploy: Model,
): Promise<TapPair[]> {
  const { regions } = await planReparam(training);
  const index = indexGraph(deploy.graph);
  const made = (weight: string): string | undefined => index.uses(weight)[0]?.outputs[0];
  const taps: TapPair[] = [];
  for (const { name, status, pair } of weights.blocks) {
    const { expected, found } = pair;
    if (!found || status === "unmatched") continue;
    const from = expected.region?.output ?? regionOf(expected, regions)?.output;
    const to = found.region?.output ?? made(found.weightName);
    if (from !== undefined && to !== undefined) taps.push({ name, training: from, deploy: to });
  }
  training.graph.outputs.forEach((output, i) => {
    const other = deploy.graph.outputs[i];
    if (other) taps.push({ name: output.name, training: output.name, deploy: other.name });
  });
  return taps;
}

/** The region whose nodes carry the block's name. */
function regionOf({ name }: Kernel, regions: readonly Region[]): Region | undefined {
  return regions.find(({ nodes }) => nodes.every((node) => node.name.startsWith(`${name}.`)));
}
