/** @file The plain conv + BatchNorm pair that YOLO projects fuse along with their multi-branch blocks. */

import type { BlockRow } from "../family.ts";
import { convBn } from "./stones.ts";

export const YOLO_CONV: BlockRow = {
  kind: "Conv",
  anchor: "bn.running_mean",
  require: ["conv.weight"],
  forbid: ["conv1.conv.weight", "cv2.weight", "rbr_dense.conv.weight"],
  graph: convBn("conv", "bn"),
  deploy: { weight: "conv.weight", bias: "conv.bias", distinctive: false },
  companion: true,
};
