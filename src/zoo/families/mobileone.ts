/** @file The original MobileOne. */

import type { FamilyRow } from "../family.ts";
import { MOBILEONE_BLOCK } from "./mobileone-block.ts";

export const MOBILEONE: FamilyRow = {
  name: "mobileone",
  title: "MobileOne",
  epsilon: 1e-5,
  prefixes: ["stage#", "stage#.#"],
  blocks: [MOBILEONE_BLOCK],
};
