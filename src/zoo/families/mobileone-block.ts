/** @file The MobileOne block with the original names; FastViT has it too. */

import type { BlockRow } from "../family.ts";
import { optionalConvBn, repeatedConvBn } from "./stones.ts";

export const MOBILEONE_BLOCK: BlockRow = {
  kind: "MobileOneBlock",
  anchor: "rbr_conv.0.conv.weight",
  graph: {
    sum: [
      repeatedConvBn("rbr_conv"),
      optionalConvBn("rbr_scale.conv", "rbr_scale.bn"),
      { bn: "rbr_skip", optional: true },
    ],
  },
  deploy: { weight: "reparam_conv.weight", bias: "reparam_conv.bias" },
};
