/** @file PP-LCNetV3 LearnableRepLayer. */

import type { FamilyRow } from "../family.ts";
import { optionalConvBn, repeatedConvBn } from "./stones.ts";

export const PPLCNETV3: FamilyRow = {
  name: "pplcnetv3",
  title: "PP-LCNetV3 LearnableRepLayer",
  epsilon: 1e-5,
  blocks: [
    {
      kind: "LearnableRepLayer",
      anchor: "conv_kxk.0.conv.weight",
      require: ["lab.scale"],
      graph: {
        sum: [
          repeatedConvBn("conv_kxk"),
          optionalConvBn("conv_1x1.conv", "conv_1x1.bn"),
          { bn: "identity", optional: true },
        ],
      },
      deploy: { weight: "reparam_conv.weight", bias: "reparam_conv.bias" },
      keeps: ["lab.**"],
    },
  ],
};
