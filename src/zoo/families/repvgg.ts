/** @file The original RepVGG. */

import type { FamilyRow } from "../family.ts";
import { REPVGG_BLOCK } from "./repvgg-block.ts";

export const REPVGG: FamilyRow = {
  name: "repvgg",
  title: "RepVGG",
  epsilon: 1e-5,
  prefixes: ["stage#", "stage#.#"],
  blocks: [REPVGG_BLOCK],
};
