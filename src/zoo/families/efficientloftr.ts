/** @file EfficientLoFTR: the RepVGG backbone of a feature matcher. */

import type { FamilyRow } from "../family.ts";
import { REPVGG_BLOCK } from "./repvgg-block.ts";

export const EFFICIENTLOFTR: FamilyRow = {
  name: "efficientloftr",
  title: "EfficientLoFTR",
  source: "zju3dv/EfficientLoFTR, src/loftr/backbone/repvgg.py",
  epsilon: 1e-5,
  prefixes: ["backbone.layer#", "backbone.layer#.#"],
  blocks: [REPVGG_BLOCK],
  quirks: [
    "The first stage has stride 1 at 1/2 resolution; its blocks may have an identity branch.",
  ],
};
