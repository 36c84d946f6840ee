/** @file super-gradients RepVGGBlock, with a learned weight on the pointwise branch. */

import type { FamilyRow } from "../family.ts";
import { convBn } from "./stones.ts";

export const SUPER_GRADIENTS: FamilyRow = {
  name: "super-gradients",
  title: "super-gradients RepVGGBlock",
  epsilon: 1e-5,
  blocks: [
    {
      kind: "RepVGGBlock",
      anchor: "branch_3x3.bn.running_mean",
      forbid: ["branch_1x1.weight"],
      graph: {
        sum: [
          convBn("branch_3x3.conv", "branch_3x3.bn"),
          {
            sequence: [
              { conv: "branch_1x1.conv" },
              { bn: "branch_1x1.bn" },
              { scale: "alpha", optional: true },
            ],
          },
          { bn: "no_conv_branch", optional: true },
        ],
      },
      deploy: { weight: "rbr_reparam.weight", bias: "rbr_reparam.bias" },
    },
  ],
};
