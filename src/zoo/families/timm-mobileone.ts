/** @file timm's MobileOne. */

import type { FamilyRow } from "../family.ts";
import { TIMM_MOBILEONE_BLOCK } from "./timm-mobileone-block.ts";

export const TIMM_MOBILEONE: FamilyRow = {
  name: "timm-mobileone",
  title: "timm MobileOneBlock",
  epsilon: 1e-5,
  prefixes: ["stem", "stages.#.#"],
  blocks: [TIMM_MOBILEONE_BLOCK],
};
