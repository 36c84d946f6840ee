/** @file The MobileOne block with timm's names; timm's FastViT has it too. */

import type { BlockRow } from "../family.ts";
import { optionalConvBn, repeatedConvBn } from "./stones.ts";

export const TIMM_MOBILEONE_BLOCK: BlockRow = {
  kind: "MobileOneBlock",
  anchor: "conv_kxk.0.conv.weight",
  forbid: ["conv_1x1.conv.weight", "lab.scale"],
  graph: {
    sum: [
      repeatedConvBn("conv_kxk"),
      optionalConvBn("conv_scale.conv", "conv_scale.bn"),
      { bn: "identity", optional: true },
    ],
  },
  deploy: { weight: "reparam_conv.weight", bias: "reparam_conv.bias" },
};
