/** @file The original MobileOne. */

import type { FamilyRow } from "../family.ts";
import { MOBILEONE_BLOCK } from "./mobileone-block.ts";

export const MOBILEONE: FamilyRow = {
  name: "mobileone",
  title: "MobileOne",
  source: "apple/ml-mobileone, mobileone.py",
  epsilon: 1e-5,
  prefixes: ["stage#", "stage#.#"],
  blocks: [MOBILEONE_BLOCK],
  quirks: ["The pointwise layers have no scale branch, as their kernel is 1×1 already."],
};
