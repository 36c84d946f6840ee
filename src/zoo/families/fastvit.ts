/** @file FastViT: MobileOne blocks, RepMixer, conditional positional encoding, large kernels. */

import type { FamilyRow, Stone } from "../family.ts";
import { MOBILEONE_BLOCK } from "./mobileone-block.ts";
import { LARGE_KERNEL_BLOCK } from "./replknet.ts";
import { optionalConvBn, repeatedConvBn } from "./stones.ts";

const MIXER: Stone = {
  sum: [
    repeatedConvBn("mixer.rbr_conv"),
    optionalConvBn("mixer.rbr_scale.conv", "mixer.rbr_scale.bn"),
    { bn: "mixer.rbr_skip", optional: true },
  ],
};

export const FASTVIT: FamilyRow = {
  name: "fastvit",
  title: "FastViT",
  epsilon: 1e-5,
  prefixes: ["token_mixer", "patch_embed.#"],
  blocks: [
    {
      kind: "RepMixer",
      anchor: "norm.rbr_skip.running_mean",
      require: ["mixer.rbr_conv.0.conv.weight"],
      graph: {
        sum: [
          { identity: true },
          {
            sequence: [
              { sum: [MIXER, { sequence: [{ bn: "norm.rbr_skip" }, { scale: -1 }] }] },
              { scale: "layer_scale", optional: true },
            ],
          },
        ],
      },
      deploy: { weight: "reparam_conv.weight", bias: "reparam_conv.bias" },
    },
    {
      kind: "RepCPE",
      anchor: "pe.weight",
      graph: { sum: [{ conv: "pe" }, { identity: true }] },
      deploy: { weight: "reparam_conv.weight", bias: "reparam_conv.bias" },
      companion: true,
    },
    MOBILEONE_BLOCK,
    LARGE_KERNEL_BLOCK,
  ],
};
