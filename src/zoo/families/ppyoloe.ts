/** @file PP-YOLOE RepVggBlock. */

import type { FamilyRow } from "../family.ts";
import { convBn } from "./stones.ts";

export const PPYOLOE: FamilyRow = {
  name: "ppyoloe",
  title: "PP-YOLOE RepVggBlock",
  epsilon: 1e-5,
  blocks: [
    {
      kind: "RepVggBlock",
      anchor: "conv1.conv.weight",
      require: ["conv2.conv.weight"],
      forbid: ["bn.running_mean", "bn._mean"],
      graph: {
        sum: [
          convBn("conv1.conv", "conv1.bn"),
          {
            sequence: [
              { conv: "conv2.conv" },
              { bn: "conv2.bn" },
              { scale: "alpha", optional: true },
            ],
          },
        ],
      },
      deploy: { weight: "conv.weight", bias: "conv.bias", distinctive: false },
    },
  ],
};
