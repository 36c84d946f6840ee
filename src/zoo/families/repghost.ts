/** @file RepGhost: the cheap depthwise operation and an identity BatchNorm. */

import type { FamilyRow } from "../family.ts";

export const REPGHOST: FamilyRow = {
  name: "repghost",
  title: "RepGhost",
  epsilon: 1e-5,
  blocks: [
    {
      kind: "RepGhostModule",
      anchor: "fusion_bn.0.running_mean",
      require: ["cheap_operation.0.weight"],
      graph: {
        sum: [
          { sequence: [{ conv: "cheap_operation.0" }, { bn: "cheap_operation.1" }] },
          { bn: "fusion_bn.0" },
        ],
      },
      deploy: {
        weight: "cheap_operation.weight",
        bias: "cheap_operation.bias",
        distinctive: false,
      },
      keeps: ["primary_conv.**"],
    },
  ],
};
