/** @file RepVGGplus: RepVGG blocks in split stages, with auxiliary heads. */

import type { FamilyRow } from "../family.ts";
import { REPVGG_BLOCK } from "./repvgg-block.ts";

export const REPVGGPLUS: FamilyRow = {
  name: "repvggplus",
  title: "RepVGGplus",
  epsilon: 1e-5,
  prefixes: ["stage0", "stage#.blocks.#", "stage3_first.blocks.#", "stage3_second.blocks.#"],
  blocks: [REPVGG_BLOCK],
  drops: ["stage1_aux.**", "stage2_aux.**", "stage3_first_aux.**"],
};
