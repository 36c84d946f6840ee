/** @file mmpretrain's MobileOne. */

import type { FamilyRow } from "../family.ts";
import { optionalConvBn, repeatedConvBn } from "./stones.ts";

export const MMPRETRAIN_MOBILEONE: FamilyRow = {
  name: "mmpretrain-mobileone",
  title: "mmpretrain MobileOne",
  epsilon: 1e-5,
  blocks: [
    {
      kind: "MobileOneBlock",
      anchor: "branch_conv_list.0.conv.weight",
      graph: {
        sum: [
          repeatedConvBn("branch_conv_list", "norm"),
          optionalConvBn("branch_scale.conv", "branch_scale.norm"),
          { bn: "branch_norm", optional: true },
        ],
      },
      deploy: { weight: "branch_reparam.weight", bias: "branch_reparam.bias" },
    },
  ],
};
