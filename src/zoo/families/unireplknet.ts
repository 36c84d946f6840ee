/** @file UniRepLKNet: a large kernel and dilated ones, the norm after them, and the FFN's linear layer. */

import type { BlockRow, FamilyRow, Stone } from "../family.ts";
import { convBn } from "./stones.ts";

const REST_OF_BLOCK = [
  "norm.**",
  "gamma",
  "pwconv1.**",
  "pwconv2.**",
  "grn.**",
  "dwconv.**",
  "act.**",
];

/** The branches of a DilatedReparamBlock below `at`. */
function dilatedBranches(at: string): Stone {
  return {
    sum: [
      convBn(`${at}lk_origin`, `${at}origin_bn`),
      {
        each: `${at}dil_conv_k{k}_{r}.weight`,
        join: "sum",
        stone: {
          sequence: [
            { conv: `${at}dil_conv_k{k}_{r}`, dilation: "{r}" },
            { bn: `${at}dil_bn_k{k}_{r}` },
          ],
        },
        optional: true,
      },
    ],
  };
}

const LARGE_WITH_NORM: BlockRow = {
  kind: "UniRepLKNetBlock dwconv (large kernel) and norm",
  anchor: "dwconv.lk_origin.weight",
  require: ["dwconv.origin_bn.running_mean", "norm.running_mean"],
  graph: { sequence: [dilatedBranches("dwconv."), { bn: "norm" }] },
  deploy: {
    weight: "dwconv.lk_origin.weight",
    bias: "dwconv.lk_origin.bias",
    distinctive: false,
  },
  keeps: REST_OF_BLOCK,
};

const SMALL_WITH_NORM: BlockRow = {
  kind: "UniRepLKNetBlock dwconv (small kernel) and norm",
  anchor: "dwconv.weight",
  require: ["norm.running_mean", "pwconv1.1.weight"],
  graph: convBn("dwconv", "norm"),
  deploy: { weight: "dwconv.weight", bias: "dwconv.bias", distinctive: false },
  keeps: REST_OF_BLOCK,
};

const FFN: BlockRow = {
  kind: "UniRepLKNetBlock pwconv2",
  anchor: "pwconv2.2.running_mean",
  require: ["pwconv2.0.weight"],
  graph: {
    sequence: [
      { shift: "act.1.beta", optional: true },
      { conv: "pwconv2.0" },
      { bn: "pwconv2.2" },
      { scale: "gamma", optional: true },
    ],
  },
  deploy: { weight: "pwconv2.0.weight", bias: "pwconv2.0.bias", distinctive: false },
  keeps: REST_OF_BLOCK,
};

const BARE: BlockRow = {
  kind: "DilatedReparamBlock",
  anchor: "lk_origin.weight",
  require: ["origin_bn.running_mean"],
  graph: dilatedBranches(""),
  deploy: { weight: "lk_origin.weight", bias: "lk_origin.bias", distinctive: false },
};

export const UNIREPLKNET: FamilyRow = {
  name: "unireplknet",
  title: "UniRepLKNet",
  epsilon: 1e-5,
  blocks: [LARGE_WITH_NORM, SMALL_WITH_NORM, FFN, BARE],
};
