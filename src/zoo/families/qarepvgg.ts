/** @file QARepVGG as in YOLOv6, both versions. */

import type { BlockRow, FamilyRow, Stone } from "../family.ts";
import { convBn } from "./stones.ts";
import { YOLO_CONV } from "./yolo-conv.ts";

function block(kind: string, ...withoutKeys: readonly Stone[]): BlockRow {
  return {
    kind,
    anchor: "rbr_1x1.weight",
    require: ["rbr_dense.conv.weight"],
    graph: {
      sum: [
        convBn("rbr_dense.conv", "rbr_dense.bn"),
        { conv: "rbr_1x1" },
        { identity: true, sameChannels: true },
        ...withoutKeys,
      ],
    },
    deploy: { weight: "rbr_reparam.weight", bias: "rbr_reparam.bias" },
    keeps: ["bn.**"],
  };
}

export const QAREPVGG: FamilyRow = {
  name: "qarepvgg",
  title: "YOLOv6 QARepVGGBlock",
  epsilon: 1e-3,
  blocks: [block("QARepVGGBlock"), YOLO_CONV],
};

export const QAREPVGG_V2: FamilyRow = {
  name: "qarepvgg-v2",
  title: "YOLOv6 QARepVGGBlockV2",
  epsilon: 1e-3,
  blocks: [
    block("QARepVGGBlockV2", { average: "rbr_dense.conv.weight", sameChannels: true }),
    YOLO_CONV,
  ],
};
