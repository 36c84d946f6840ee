/** @file MobileIE: branches and their BatchNorms side by side, compressed by a pointwise convolution. */

import type { BlockRow, FamilyRow } from "../family.ts";

const DEPLOY = { weight: "weight", bias: "bias", distinctive: false };

function compressed(kind: string, convs: readonly string[], forbid: readonly string[]): BlockRow {
  return {
    kind,
    anchor: "conv_out.weight",
    require: ["conv_bn.0.running_mean"],
    forbid,
    graph: {
      sequence: [
        {
          concat: [
            ...convs.map((conv) => ({ conv })),
            ...convs.map((conv) => ({ sequence: [{ conv }, { bn: `${conv}_bn.0` }] })),
          ],
        },
        { conv: "conv_out" },
      ],
    },
    deploy: DEPLOY,
  };
}

export const MOBILEIE: FamilyRow = {
  name: "mobileie",
  title: "MobileIE",
  epsilon: 1e-5,
  blocks: [
    compressed("MBRConv5", ["conv", "conv1", "conv2", "conv_crossh", "conv_crossv"], []),
    compressed("MBRConv3", ["conv", "conv1", "conv_crossh", "conv_crossv"], ["conv2.weight"]),
    compressed("MBRConv1", ["conv"], ["conv1.weight"]),
  ],
};
