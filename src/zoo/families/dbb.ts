/** @file Diverse Branch Block, with all six of its transforms. */

import type { BlockRow, FamilyRow, Stone } from "../family.ts";
import { convBn, optionalConvBn } from "./stones.ts";

const PAD_WITH_OWN_BIAS: Stone = { pad: "dbb_origin.conv.weight", with: "self" };

export const DBB_BLOCK: BlockRow = {
  kind: "DiverseBranchBlock",
  anchor: "dbb_origin.conv.weight",
  graph: {
    sum: [
      convBn("dbb_origin.conv", "dbb_origin.bn"),
      optionalConvBn("dbb_1x1.conv", "dbb_1x1.bn"),
      {
        sequence: [
          { conv: "dbb_avg.conv" },
          { bn: "dbb_avg.bn.bn" },
          PAD_WITH_OWN_BIAS,
          { average: "dbb_origin.conv.weight", padding: 0 },
          { bn: "dbb_avg.avgbn" },
        ],
        when: "dbb_avg.conv.weight",
      },
      {
        sequence: [{ average: "dbb_origin.conv.weight" }, { bn: "dbb_avg.avgbn" }],
        unless: "dbb_avg.conv.weight",
        optional: true,
      },
      {
        sequence: [
          {
            conv: {
              weight: {
                add: ["dbb_1x1_kxk.idconv1.weight", { identityLike: "dbb_1x1_kxk.idconv1.weight" }],
              },
            },
            when: "dbb_1x1_kxk.idconv1.weight",
          },
          { conv: "dbb_1x1_kxk.conv1", unless: "dbb_1x1_kxk.idconv1.weight" },
          { bn: "dbb_1x1_kxk.bn1.bn" },
          PAD_WITH_OWN_BIAS,
          { conv: "dbb_1x1_kxk.conv2", padding: 0 },
          { bn: "dbb_1x1_kxk.bn2" },
        ],
        optional: true,
      },
    ],
  },
  deploy: { weight: "dbb_reparam.weight", bias: "dbb_reparam.bias" },
};

export const DBB: FamilyRow = {
  name: "dbb",
  title: "Diverse Branch Block",
  epsilon: 1e-5,
  blocks: [DBB_BLOCK],
};
