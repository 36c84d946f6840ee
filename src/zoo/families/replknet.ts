/** @file RepLKNet: a large kernel and a small one. */

import type { BlockRow, FamilyRow } from "../family.ts";
import { convBn, optionalConvBn } from "./stones.ts";

export const LARGE_KERNEL_BLOCK: BlockRow = {
  kind: "ReparamLargeKernelConv",
  anchor: "lkb_origin.conv.weight",
  graph: {
    sum: [
      convBn("lkb_origin.conv", "lkb_origin.bn"),
      optionalConvBn("small_conv.conv", "small_conv.bn"),
    ],
  },
  deploy: { weight: "lkb_reparam.weight", bias: "lkb_reparam.bias" },
};

export const REPLKNET: FamilyRow = {
  name: "replknet",
  title: "RepLKNet",
  epsilon: 1e-5,
  prefixes: ["large_kernel"],
  blocks: [LARGE_KERNEL_BLOCK],
};
