/** @file EfficientLoFTR: the RepVGG backbone of a feature matcher. */

import type { FamilyRow } from "../family.ts";
import { REPVGG_BLOCK } from "./repvgg-block.ts";

export const EFFICIENTLOFTR: FamilyRow = {
  name: "efficientloftr",
  title: "EfficientLoFTR",
  epsilon: 1e-5,
  prefixes: ["backbone.layer#", "backbone.layer#.#"],
  blocks: [REPVGG_BLOCK],
};
