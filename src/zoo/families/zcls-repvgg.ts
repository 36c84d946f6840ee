/** @file RepVGG blocks inserted into any net by ZCls. */

import type { FamilyRow } from "../family.ts";
import { REPVGG_BLOCK } from "./repvgg-block.ts";

export const ZCLS_REPVGG: FamilyRow = {
  name: "zcls-repvgg",
  title: "ZCls insert_repvgg_block",
  epsilon: 1e-5,
  within: ["^#", "^#.#", "^#.#.#", "^#.#.#.#"],
  blocks: [{ ...REPVGG_BLOCK, deploy: { weight: "weight", bias: "bias", distinctive: false } }],
};
