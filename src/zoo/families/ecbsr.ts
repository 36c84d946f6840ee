/** @file ECBSR: edge-oriented convolution block, without BatchNorm. */

import type { FamilyRow, Stone } from "../family.ts";

/** A pointwise convolution, padded with its own bias, and a fixed depthwise edge filter. */
function edge(name: string): Stone {
  const key = (part: string) => `conv1x1_${name}.${part}`;
  return {
    sequence: [
      { conv: { weight: key("k0"), bias: key("b0") } },
      { pad: 1, with: "self" },
      {
        conv: { weight: { multiply: [key("scale"), key("mask")] }, bias: key("bias") },
        padding: 0,
        group: "depthwise",
      },
    ],
    optional: true,
  };
}

export const ECBSR: FamilyRow = {
  name: "ecbsr",
  title: "ECBSR",
  epsilon: 1e-5,
  blocks: [
    {
      kind: "ECB",
      anchor: "conv1x1_3x3.k0",
      require: ["conv3x3.weight"],
      graph: {
        sum: [
          { conv: "conv3x3", group: 1 },
          {
            sequence: [
              { conv: { weight: "conv1x1_3x3.k0", bias: "conv1x1_3x3.b0" }, group: 1 },
              { pad: 1, with: "self" },
              {
                conv: { weight: "conv1x1_3x3.k1", bias: "conv1x1_3x3.b1" },
                padding: 0,
                group: 1,
              },
            ],
          },
          edge("sbx"),
          edge("sby"),
          edge("lpl"),
          { identity: true, sameChannels: true },
        ],
      },
      deploy: { weight: "conv3x3.weight", bias: "conv3x3.bias", distinctive: false },
    },
  ],
};
