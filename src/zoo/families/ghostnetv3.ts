/** @file GhostNetV3: two MobileOne-like blocks per ghost module. */

import type { BlockRow, FamilyRow } from "../family.ts";
import { optionalConvBn, repeatedConvBn } from "./stones.ts";

function branches(part: "primary" | "cheap", conv: string): BlockRow {
  return {
    kind: `GhostModule ${part}`,
    anchor: `${part}_rpr_conv.0.conv.weight`,
    graph: {
      sum: [
        repeatedConvBn(`${part}_rpr_conv`),
        optionalConvBn(`${part}_rpr_scale.conv`, `${part}_rpr_scale.bn`),
        { bn: `${part}_rpr_skip`, optional: true },
      ],
    },
    deploy: { weight: `${conv}.0.weight`, bias: `${conv}.0.bias`, distinctive: false },
    keeps: ["short_conv.**"],
  };
}

export const GHOSTNETV3: FamilyRow = {
  name: "ghostnetv3",
  title: "GhostNetV3",
  epsilon: 1e-5,
  blocks: [branches("primary", "primary_conv"), branches("cheap", "cheap_operation")],
};
