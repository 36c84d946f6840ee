/** @file RepVGGplus: RepVGG blocks in split stages, with auxiliary heads. */

import type { FamilyRow } from "../family.ts";
import { REPVGG_BLOCK } from "./repvgg-block.ts";

export const REPVGGPLUS: FamilyRow = {
  name: "repvggplus",
  title: "RepVGGplus",
  source: "DingXiaoH/RepVGG, repvggplus_custom_L2.py",
  epsilon: 1e-5,
  prefixes: ["stage0", "stage#.blocks.#", "stage3_first.blocks.#", "stage3_second.blocks.#"],
  blocks: [REPVGG_BLOCK],
  drops: ["stage1_aux.**", "stage2_aux.**", "stage3_first_aux.**"],
  quirks: [
    "The three auxiliary heads of the training form are deleted in the deploy form.",
    "SE stands after the ReLU (`post_se`), not before it.",
    "repvggplus.py's own deploy form still calls a deleted head and raises; repvggplus_custom_L2.py does not.",
  ],
};
