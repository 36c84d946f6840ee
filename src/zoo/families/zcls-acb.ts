/** @file Asymmetric convolution blocks inserted into any net by ZCls. */

import type { FamilyRow } from "../family.ts";
import { ACB } from "./acnet.ts";

export const ZCLS_ACB: FamilyRow = {
  name: "zcls-acb",
  title: "ZCls insert_acblock",
  epsilon: 1e-5,
  within: ["^#", "^#.#", "^#.#.#", "^#.#.#.#"],
  blocks: [{ ...ACB, deploy: { weight: "weight", bias: "bias", distinctive: false } }],
};
