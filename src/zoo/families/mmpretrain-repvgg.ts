/** @file mmpretrain's RepVGG. */

import type { FamilyRow } from "../family.ts";
import { convBn } from "./stones.ts";

export const MMPRETRAIN_REPVGG: FamilyRow = {
  name: "mmpretrain-repvgg",
  title: "mmpretrain RepVGG",
  epsilon: 1e-5,
  blocks: [
    {
      kind: "RepVGGBlock",
      anchor: "branch_3x3.norm.running_mean",
      graph: {
        sum: [
          convBn("branch_3x3.conv", "branch_3x3.norm"),
          convBn("branch_1x1.conv", "branch_1x1.norm"),
          { bn: "branch_norm", optional: true },
        ],
      },
      deploy: { weight: "branch_reparam.weight", bias: "branch_reparam.bias" },
    },
  ],
};
