/** @file 6DRepNet: RepVGG blocks under other stage names. */

import type { FamilyRow } from "../family.ts";
import { REPVGG_BLOCK } from "./repvgg-block.ts";

export const SIXDREPNET: FamilyRow = {
  name: "sixdrepnet",
  title: "6DRepNet",
  epsilon: 1e-5,
  prefixes: ["layer#", "layer#.#"],
  blocks: [REPVGG_BLOCK],
};
