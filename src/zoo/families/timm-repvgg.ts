/** @file timm's RepVGG. */

import type { FamilyRow } from "../family.ts";
import { convBn } from "./stones.ts";

export const TIMM_REPVGG: FamilyRow = {
  name: "timm-repvgg",
  title: "timm RepVggBlock",
  epsilon: 1e-5,
  blocks: [
    {
      kind: "RepVggBlock",
      anchor: "conv_kxk.conv.weight",
      graph: {
        sum: [
          convBn("conv_kxk.conv", "conv_kxk.bn"),
          convBn("conv_1x1.conv", "conv_1x1.bn"),
          { bn: "identity", optional: true },
        ],
      },
      deploy: { weight: "reparam_conv.weight", bias: "reparam_conv.bias" },
    },
  ],
};
