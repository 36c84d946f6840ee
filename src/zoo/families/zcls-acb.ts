/** @file Asymmetric convolution blocks inserted into any net by ZCls. */

import type { FamilyRow } from "../family.ts";
import { ACB } from "./acnet.ts";

export const ZCLS_ACB: FamilyRow = {
  name: "zcls-acb",
  title: "ZCls insert_acblock",
  source: "ZJCV/ZCls, zcls/model/conv_helper.py",
  epsilon: 1e-5,
  within: ["^#", "^#.#", "^#.#.#", "^#.#.#.#"],
  blocks: [{ ...ACB, deploy: { weight: "weight", bias: "bias", distinctive: false } }],
  quirks: [
    "The origin fuses with the epsilon given as an argument instead of each layer's own.",
    "Considered by itself only where the prefix is all numbers; say --family zcls-acb elsewhere.",
  ],
};
