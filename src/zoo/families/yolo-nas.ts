/** @file YOLO-NAS (super-gradients QARepVGGBlock), fully and partially fused. */

import type { BlockRow, FamilyRow, Stone } from "../family.ts";
import { convBn } from "./stones.ts";

const BRANCHES: Stone = {
  sum: [
    convBn("branch_3x3.conv", "branch_3x3.bn"),
    { sequence: [{ conv: "branch_1x1" }, { scale: "alpha", optional: true }] },
    { identity: true, sameChannels: true },
  ],
};

const FULL: BlockRow = {
  kind: "QARepVGGBlock",
  anchor: "branch_1x1.weight",
  require: ["branch_3x3.conv.weight"],
  graph: { sequence: [BRANCHES, { bn: "post_bn", optional: true }] },
  deploy: { weight: "rbr_reparam.weight", bias: "rbr_reparam.bias" },
};

export const YOLO_NAS: FamilyRow = {
  name: "yolo-nas",
  title: "YOLO-NAS QARepVGGBlock, full fusion",
  epsilon: 1e-5,
  blocks: [FULL],
};

export const YOLO_NAS_PARTIAL: FamilyRow = {
  name: "yolo-nas-partial",
  title: "YOLO-NAS QARepVGGBlock, partial fusion",
  epsilon: 1e-5,
  within: [],
  blocks: [{ ...FULL, graph: BRANCHES, keeps: ["post_bn.**"] }],
};
