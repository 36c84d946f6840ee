/** @file OREPA: kernels made online from several weights. */

import type { BlockRow, FamilyRow } from "../family.ts";
import { orepaBranches } from "./orepa-weights.ts";
import { convBn } from "./stones.ts";

/** RepVGG with an OREPA kernel as its dense branch; YOLOv7 has it too. */
export const OREPA_REPVGG_BLOCK: BlockRow = {
  kind: "RepVGGBlock_OREPA",
  anchor: "rbr_dense.weight_rbr_origin",
  graph: {
    sum: [
      {
        sequence: [orepaBranches("rbr_dense.", "rbr", [0, 1, 2, 3, -1, 4]), { bn: "rbr_dense.bn" }],
      },
      convBn("rbr_1x1.conv", "rbr_1x1.bn"),
      { bn: "rbr_identity", optional: true },
    ],
  },
  deploy: { weight: "rbr_reparam.weight", bias: "rbr_reparam.bias" },
};

export const OREPA: FamilyRow = {
  name: "orepa",
  title: "OREPA",
  epsilon: 1e-5,
  blocks: [
    {
      kind: "OREPA",
      anchor: "weight_orepa_origin",
      graph: {
        sequence: [orepaBranches("", "orepa", [0, 1, 2, 3, 4, 5]), { bn: "bn" }],
      },
      deploy: { weight: "orepa_reparam.weight", bias: "orepa_reparam.bias" },
      drops: ["id_tensor"],
    },
    OREPA_REPVGG_BLOCK,
    {
      kind: "OREPA_1x1",
      anchor: "weight_or1x1_origin",
      graph: {
        sequence: [
          {
            sum: [
              {
                sequence: [
                  { conv: { weight: "weight_or1x1_origin" } },
                  { scale: { row: "vector", index: 0 } },
                ],
              },
              {
                sequence: [
                  { conv: { weight: "weight_or1x1_l2i_conv1" } },
                  { conv: { weight: "weight_or1x1_l2i_conv2" } },
                  { scale: { row: "vector", index: 1 } },
                ],
              },
            ],
          },
          { bn: "bn" },
        ],
      },
      deploy: { weight: "or1x1_reparam.weight", bias: "or1x1_reparam.bias" },
    },
  ],
};
