/** @file Ultralytics (and YOLOv9) RepConv and Conv2, and the plain convolutions `fuse` folds. */

import type { FamilyRow } from "../family.ts";
import { convBn } from "./stones.ts";
import { YOLO_CONV } from "./yolo-conv.ts";

export const ULTRALYTICS: FamilyRow = {
  name: "ultralytics",
  title: "Ultralytics and YOLOv9 RepConv",
  epsilon: 1e-3,
  prefixes: ["model.#.*", "model.#.*.*", "model.#.*.*.*", "model.#.*.*.*.*"],
  blocks: [
    {
      kind: "RepConv",
      anchor: "conv1.conv.weight",
      require: ["conv2.conv.weight"],
      forbid: ["alpha"],
      graph: {
        sum: [
          convBn("conv1.conv", "conv1.bn"),
          convBn("conv2.conv", "conv2.bn"),
          { bn: "bn", optional: true },
        ],
      },
      deploy: { weight: "conv.weight", bias: "conv.bias", distinctive: false },
    },
    {
      kind: "Conv2",
      anchor: "cv2.weight",
      require: ["conv.weight", "bn.running_mean"],
      graph: { sequence: [{ sum: [{ conv: "conv" }, { conv: "cv2" }] }, { bn: "bn" }] },
      deploy: { weight: "conv.weight", bias: "conv.bias", distinctive: false },
    },
    YOLO_CONV,
  ],
};
