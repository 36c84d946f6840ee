/** @file RT4KSR: expand, convolve with a residual, reduce, with a residual. */

import type { FamilyRow } from "../family.ts";

export const RT4KSR: FamilyRow = {
  name: "rt4ksr",
  title: "RT4KSR",
  epsilon: 1e-5,
  blocks: [
    {
      kind: "RepResBlock",
      anchor: "fea_conv.weight",
      require: ["expand_conv.bias"],
      forbid: ["expand1_conv.weight", "res_conv3x3.weight"],
      graph: {
        sum: [
          {
            sequence: [
              { conv: "expand_conv" },
              {
                sum: [
                  {
                    sequence: [
                      { pad: "fea_conv.weight", with: "self" },
                      { conv: "fea_conv", padding: 0 },
                    ],
                  },
                  { identity: true },
                ],
              },
              { conv: "reduce_conv" },
            ],
          },
          { identity: true },
        ],
      },
      deploy: { weight: "rep_conv.weight", bias: "rep_conv.bias" },
    },
  ],
};
