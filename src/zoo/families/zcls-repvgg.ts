/** @file RepVGG blocks inserted into any net by ZCls. */

import type { FamilyRow } from "../family.ts";
import { REPVGG_BLOCK } from "./repvgg-block.ts";

export const ZCLS_REPVGG: FamilyRow = {
  name: "zcls-repvgg",
  title: "ZCls insert_repvgg_block",
  source: "ZJCV/ZCls, zcls/model/conv_helper.py",
  epsilon: 1e-5,
  within: ["^#", "^#.#", "^#.#.#", "^#.#.#.#"],
  blocks: [{ ...REPVGG_BLOCK, deploy: { weight: "weight", bias: "bias", distinctive: false } }],
  quirks: [
    "The fused convolution takes the block's place: its keys are `<prefix>.weight` and `<prefix>.bias`.",
    "Considered by itself only where the prefix is all numbers; say --family zcls-repvgg elsewhere.",
    "The training branches ignore `padding_mode`, the origin's fused convolution uses it; the weights are right, the origin's deploy graph is not.",
    "The origin's own fuse fails for k5 with an identity branch (its identity kernel is always 3×3); this one does not.",
  ],
};
