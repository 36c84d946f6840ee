/** @file timm's MobileOne. */

import type { FamilyRow } from "../family.ts";
import { TIMM_MOBILEONE_BLOCK } from "./timm-mobileone-block.ts";

export const TIMM_MOBILEONE: FamilyRow = {
  name: "timm-mobileone",
  title: "timm MobileOneBlock",
  source: "huggingface/pytorch-image-models, timm/models/byobnet.py",
  epsilon: 1e-5,
  prefixes: ["stem", "stages.#.#"],
  blocks: [TIMM_MOBILEONE_BLOCK],
  quirks: ["The training branches ignore `dilation`."],
};
