/** @file Diverse branch blocks inserted into any net by ZCls. */

import type { FamilyRow } from "../family.ts";
import { DBB_BLOCK } from "./dbb.ts";

export const ZCLS_DBB: FamilyRow = {
  name: "zcls-dbb",
  title: "ZCls insert_diverse_branch_block",
  epsilon: 1e-5,
  within: ["^#", "^#.#", "^#.#.#", "^#.#.#.#"],
  blocks: [{ ...DBB_BLOCK, deploy: { weight: "weight", bias: "bias", distinctive: false } }],
};
