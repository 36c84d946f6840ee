/** @file ACNet: a square kernel and its two crosses. */

import type { BlockRow, FamilyRow } from "../family.ts";
import { convBn } from "./stones.ts";

export const ACB: BlockRow = {
  kind: "ACBlock",
  anchor: "square_conv.weight",
  graph: {
    sum: [
      convBn("square_conv", "square_bn"),
      convBn("ver_conv", "ver_bn"),
      convBn("hor_conv", "hor_bn"),
    ],
  },
  deploy: { weight: "fused_conv.weight", bias: "fused_conv.bias" },
};

export const ACNET: FamilyRow = {
  name: "acnet",
  title: "ACNet (ACB)",
  epsilon: 1e-5,
  blocks: [ACB],
};
