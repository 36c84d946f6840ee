/** @file YOLOv7: RepConv, RepConv with OREPA, implicit knowledge, and the plain convolutions its `fuse` folds. */

import type { FamilyRow } from "../family.ts";
import { OREPA_REPVGG_BLOCK } from "./orepa.ts";
import { convBn } from "./stones.ts";
import { YOLO_CONV } from "./yolo-conv.ts";

export const YOLOV7: FamilyRow = {
  name: "yolov7",
  title: "YOLOv7 RepConv",
  epsilon: 1e-3,
  blocks: [
    {
      kind: "RepConv",
      anchor: "rbr_dense.0.weight",
      graph: {
        sum: [
          convBn("rbr_dense.0", "rbr_dense.1"),
          convBn("rbr_1x1.0", "rbr_1x1.1"),
          { bn: "rbr_identity", optional: true },
        ],
      },
      deploy: { weight: "rbr_reparam.weight", bias: "rbr_reparam.bias" },
    },
    OREPA_REPVGG_BLOCK,
    {
      kind: "IDetect",
      anchor: "ia.{i}.implicit",
      graph: {
        sequence: [{ shift: "ia.{i}.implicit" }, { conv: "m.{i}" }, { scale: "im.{i}.implicit" }],
      },
      deploy: { weight: "m.{i}.weight", bias: "m.{i}.bias", distinctive: false },
      keeps: ["anchors", "anchor_grid", "m.**", "m2.**", "m_kpt.**"],
    },
    YOLO_CONV,
  ],
};
