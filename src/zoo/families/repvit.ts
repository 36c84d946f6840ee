/** @file RepViT: everything becomes a plain layer. */

import type { BlockRow, FamilyRow } from "../family.ts";

const CONV_NORM: BlockRow = {
  kind: "Conv2d_BN",
  anchor: "c.weight",
  graph: { sequence: [{ conv: "c" }, { bn: "bn" }] },
  deploy: { weight: "weight", bias: "bias", distinctive: false },
  companion: true,
};

export const REPVIT: FamilyRow = {
  name: "repvit",
  title: "RepViT",
  epsilon: 1e-5,
  blocks: [
    {
      kind: "RepVGGDW",
      anchor: "conv.c.weight",
      graph: {
        sequence: [
          {
            sum: [
              { sequence: [{ conv: "conv.c" }, { bn: "conv.bn" }] },
              { conv: "conv1", optional: true },
              { sequence: [{ conv: "conv1.c" }, { bn: "conv1.bn" }], optional: true },
              { identity: true },
            ],
          },
          { bn: "bn", optional: true },
        ],
      },
      deploy: { weight: "weight", bias: "bias", distinctive: false },
    },
    {
      kind: "Classifier with distillation head",
      anchor: "classifier_dist.bn.running_mean",
      require: ["classifier.bn.running_mean", "classifier.l.weight"],
      graph: {
        sequence: [
          {
            sum: [
              { sequence: [{ bn: "classifier.bn" }, { conv: "classifier.l" }] },
              { sequence: [{ bn: "classifier_dist.bn" }, { conv: "classifier_dist.l" }] },
            ],
          },
          { scale: 0.5 },
        ],
      },
      deploy: { weight: "weight", bias: "bias", distinctive: false },
      companion: true,
    },
    {
      kind: "Classifier",
      anchor: "classifier.l.weight",
      forbid: ["classifier_dist.l.weight"],
      graph: { sequence: [{ bn: "classifier.bn" }, { conv: "classifier.l" }] },
      deploy: { weight: "weight", bias: "bias", distinctive: false },
      companion: true,
    },
    CONV_NORM,
  ],
};
