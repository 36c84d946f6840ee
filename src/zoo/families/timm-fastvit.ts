/** @file FastViT with timm's names. */

import type { FamilyRow, Stone } from "../family.ts";
import { convBn, optionalConvBn, repeatedConvBn } from "./stones.ts";
import { TIMM_MOBILEONE_BLOCK } from "./timm-mobileone-block.ts";

const MIXER: Stone = {
  sum: [
    repeatedConvBn("mixer.conv_kxk"),
    optionalConvBn("mixer.conv_scale.conv", "mixer.conv_scale.bn"),
    { bn: "mixer.identity", optional: true },
  ],
};

export const TIMM_FASTVIT: FamilyRow = {
  name: "timm-fastvit",
  title: "timm FastViT",
  epsilon: 1e-5,
  prefixes: ["token_mixer"],
  blocks: [
    {
      kind: "RepMixer",
      anchor: "norm.identity.running_mean",
      require: ["mixer.conv_kxk.0.conv.weight"],
      graph: {
        sum: [
          { identity: true },
          {
            sequence: [
              { sum: [MIXER, { sequence: [{ bn: "norm.identity" }, { scale: -1 }] }] },
              { scale: "layer_scale.gamma", optional: true },
            ],
          },
        ],
      },
      deploy: { weight: "reparam_conv.weight", bias: "reparam_conv.bias" },
    },
    {
      kind: "RepConditionalPosEnc",
      anchor: "pos_enc.weight",
      graph: { sum: [{ conv: "pos_enc" }, { identity: true }] },
      deploy: { weight: "reparam_conv.weight", bias: "reparam_conv.bias" },
    },
    {
      kind: "ReparamLargeKernelConv",
      anchor: "large_conv.conv.weight",
      graph: {
        sum: [
          convBn("large_conv.conv", "large_conv.bn"),
          optionalConvBn("small_conv.conv", "small_conv.bn"),
        ],
      },
      deploy: { weight: "reparam_conv.weight", bias: "reparam_conv.bias" },
    },
    TIMM_MOBILEONE_BLOCK,
  ],
};
