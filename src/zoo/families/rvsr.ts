/** @file RVSR: two expand–convolve–reduce chains, a 3×3, a 1×1 and the input itself. */

import type { FamilyRow, Stone } from "../family.ts";

function chain(number: "" | "1"): Stone {
  return {
    sequence: [
      { conv: `expand${number}_conv` },
      { pad: `fea${number}_conv.weight`, with: "self" },
      { conv: `fea${number}_conv`, padding: 0 },
      { conv: `reduce${number}_conv` },
    ],
  };
}

export const RVSR: FamilyRow = {
  name: "rvsr",
  title: "RVSR",
  epsilon: 1e-5,
  blocks: [
    {
      kind: "RepBlock",
      anchor: "expand1_conv.weight",
      graph: {
        sum: [
          chain(""),
          chain("1"),
          { conv: "res_conv3x3" },
          { conv: "res_conv1x1" },
          { identity: true },
        ],
      },
      deploy: { weight: "rep_conv.weight", bias: "rep_conv.bias" },
    },
  ],
};
