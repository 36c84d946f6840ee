/** @file The block that RepVGG, and much that was made from it, has. */

import type { BlockRow } from "../family.ts";
import { convBn } from "./stones.ts";

export const REPVGG_BLOCK: BlockRow = {
  kind: "RepVGGBlock",
  anchor: "rbr_dense.conv.weight",
  graph: {
    sum: [
      convBn("rbr_dense.conv", "rbr_dense.bn"),
      convBn("rbr_1x1.conv", "rbr_1x1.bn"),
      { bn: "rbr_identity", optional: true },
    ],
  },
  deploy: { weight: "rbr_reparam.weight", bias: "rbr_reparam.bias" },
};
