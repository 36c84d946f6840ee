/** @file What a whole pickled module says beside its weights, against what the RepVGG layout implies. */

import { badData } from "../../core/errors.ts";
import type { ModuleRecord, StateDict } from "../../core/tensor.ts";
import type { RepVggBlock } from "./repvgg-arch.ts";

/** PyTorch's default for BatchNorm, which the origin keeps. */
export const REPVGG_EPSILON = 1e-5;

/**
 * Refuses a net whose convolutions were changed after construction (a dilated segmentation backbone, another stride):
 * its weights fit, but the graph built from shapes alone would be another function.
 *
 * @throws `bad-data` naming the module and the attribute
 */
export function checkModules(
  state: StateDict,
  blocks: readonly RepVggBlock[],
  where: string,
): void {
  if (state.modules.size === 0) return;
  for (const { prefix, stride, group } of blocks) {
    const convs = { "rbr_dense.conv": 1, "rbr_1x1.conv": 0, rbr_reparam: 1 };
    for (const [name, padding] of Object.entries(convs)) {
      const path = `${prefix}.${name}`;
      const record = state.modules.get(path);
      if (!record) continue;
      const expected = { stride, padding, dilation: 1, groups: group, padding_mode: "zeros" };
      for (const [attribute, value] of Object.entries(expected)) {
        const found = record.attributes[attribute];
        if (found === undefined || matches(found, value)) continue;
        throw badData(
          `${where}: ${path}`,
          `${attribute} is ${JSON.stringify(found)}, expected ${value} in a RepVGG`,
        );
      }
    }
  }
}

function matches(found: ModuleRecord["attributes"][string], value: number | string): boolean {
  return typeof found === "object" ? found.every((n) => n === value) : found === value;
}

/** A BatchNorm's epsilon: from the file where it stands there, else `fallback`, else the family's default. */
export function batchNormEpsilon(
  state: StateDict,
  path: string,
  fallback: number | undefined,
): number {
  const stated = state.modules.get(path)?.attributes["eps"];
  return typeof stated === "number" ? stated : (fallback ?? REPVGG_EPSILON);
}
