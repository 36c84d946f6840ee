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

const SOURCE = "meituan/YOLOv6, yolov6/layers/common.py";

const QUIRKS = [
  "The pointwise and identity branches have no BatchNorm; the BatchNorm after the sum stays in the origin's deploy form.",
  "The branches without weights have no keys: they are taken as present where input and output channels agree, and that is said.",
];

export const QAREPVGG: FamilyRow = {
  name: "qarepvgg",
  title: "YOLOv6 QARepVGGBlock",
  source: SOURCE,
  epsilon: 1e-3,
  blocks: [block("QARepVGGBlock"), YOLO_CONV],
  quirks: [
    ...QUIRKS,
    "The keys are those of version 2 as well, so a file of either has to be named.",
  ],
};

export const QAREPVGG_V2: FamilyRow = {
  name: "qarepvgg-v2",
  title: "YOLOv6 QARepVGGBlockV2",
  source: SOURCE,
  epsilon: 1e-3,
  blocks: [
    block("QARepVGGBlockV2", { average: "rbr_dense.conv.weight", sameChannels: true }),
    YOLO_CONV,
  ],
  quirks: [
    ...QUIRKS,
    "Version 2 adds an average pool beside the identity; no key tells it from version 1.",
  ],
};
