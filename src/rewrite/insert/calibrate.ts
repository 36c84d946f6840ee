/**
 * @file Batch norm statistics from data: the blocks are put in, the values that their batch norms read are observed,
 * and the plan remembers. Statistics do not enter the function (see block-tensors.ts), so one pass is enough: the dense
 * branch moves by roundings only when the others' statistics change.
 */

import type { Model } from "../../ir/graph.ts";
import { applyInsertion } from "./apply-insertion.ts";
import type { ChannelStatistics } from "./block-tensors.ts";
import type { InsertionPlan } from "./plan-insertion.ts";

/** A value `[N, C, ...spatial]` of `rank` axes. */
export interface ObservedValue {
  readonly name: string;
  readonly rank: number;
}

/** Mean and variance per channel of values of a model, over calibration data. `channelMoments` (runtime) makes one. */
export type ObserveChannels = (
  model: Model,
  values: readonly ObservedValue[],
) => Promise<ReadonlyMap<string, ChannelStatistics>>;

/** The plan with the statistics that the blocks' batch norms would have seen. */
export async function calibrateInsertion(
  model: Model,
  plan: InsertionPlan,
  observe: ObserveChannels,
): Promise<InsertionPlan> {
  const { insertions, model: inserted } = applyInsertion(model, { ...plan, statistics: undefined });
  const ranks = new Map<string, number>();
  for (const { insertion, batchNormInputs } of insertions) {
    const rank = insertion.found.target.geometry.axes.length + 2;
    for (const value of batchNormInputs.values()) ranks.set(value, rank);
  }
  const seen = await observe(
    inserted,
    [...ranks].map(([name, rank]) => ({ name, rank })),
  );
  const statistics = new Map(
    insertions.map(({ insertion, batchNormInputs }) => [
      insertion.found.name,
      new Map(
        [...batchNormInputs].flatMap(([key, value]) => {
          const found = seen.get(value);
          return found ? [[key, found] as const] : [];
        }),
      ),
    ]),
  );
  return { ...plan, statistics };
}
