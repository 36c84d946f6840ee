/** @file The original RepVGG. */

import type { FamilyRow } from "../family.ts";
import { REPVGG_BLOCK } from "./repvgg-block.ts";

export const REPVGG: FamilyRow = {
  name: "repvgg",
  title: "RepVGG",
  source: "DingXiaoH/RepVGG, repvgg.py",
  epsilon: 1e-5,
  prefixes: ["stage#", "stage#.#"],
  blocks: [REPVGG_BLOCK],
  quirks: [
    "SE blocks of the D2se variant pool with kernel = width, so they mean something else on inputs that are not square (RepVGG#77); only the convolution is converted here.",
    "The constructor takes `dilation` and `padding_mode`, but the training branches ignore both while the deploy convolution uses them (RepVGG#57); the weights are the same either way.",
  ],
};
