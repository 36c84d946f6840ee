/** @file YOLOv6's RepVGG blocks. */

import type { FamilyRow } from "../family.ts";
import { REPVGG_BLOCK } from "./repvgg-block.ts";

export const YOLOV6: FamilyRow = {
  name: "yolov6",
  title: "YOLOv6 RepVGGBlock",
  epsilon: 1e-3,
  prefixes: [
    "backbone.stem",
    "ERBlock_#.#",
    "ERBlock_#.#.*",
    "ERBlock_#.#.*.#",
    "Rep_p#.*",
    "Rep_p#.*.#",
    "Rep_n#.*",
    "Rep_n#.*.#",
  ],
  blocks: [
    REPVGG_BLOCK,
    {
      kind: "ConvModule",
      anchor: "bn.running_mean",
      require: ["conv.weight"],
      forbid: ["rbr_dense.conv.weight"],
      graph: { sequence: [{ conv: "conv" }, { bn: "bn" }] },
      deploy: { weight: "conv.weight", bias: "conv.bias", distinctive: false },
      companion: true,
    },
  ],
};
