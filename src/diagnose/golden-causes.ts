/** @file Every reason why a recorded output differs. */

import type { CauseRow } from "./file-causes.ts";

const ROWS = {
  "golden-train-mode": {
    title: "the golden output was made in train() mode",
    fix: "Call model.eval() before the forward pass: in train() mode batch norm uses the batch's own statistics.",
  },
  "golden-channel-order": {
    title: "the golden output was made with the colour channels in the other order",
    fix: "OpenCV reads BGR, PIL reads RGB: use one order on both sides.",
  },
  "golden-normalization-missing": {
    title: "the golden output was made with the input normalized once more",
    fix: "Normalize the input (mean 0.485 0.456 0.406, deviation 0.229 0.224 0.225) on both sides or on neither.",
  },
  "golden-normalization-doubled": {
    title: "the given input is normalized and the golden output was made without",
    fix: "Normalize the input once on both sides.",
  },
  "golden-value-range": {
    title: "the golden output was made with values of another range",
    fix: "Divide by 255 on both sides or on neither.",
  },
  "golden-layout": {
    title: "the input has its channels last",
    fix: "Permute the array to [batch, channels, height, width].",
  },
  "golden-softmax": {
    title: "the golden output and the model differ by a softmax",
    fix: "Compare logits with logits, or add the softmax to both.",
  },
  "golden-float16": {
    title: "the golden output was computed in float16",
    fix: "Run the reference in float32, or accept the difference as half precision.",
  },
  "golden-deploy-only": {
    title: "the golden output is the deploy form's",
    fix: "Make the golden output with the training form if it is to judge the conversion.",
  },
  "golden-unexplained": {
    title: "the golden output is not explained",
    fix: "Check the preprocessing and the checkpoint that made it.",
  },
} as const;

export type GoldenCauseId = keyof typeof ROWS;

export const GOLDEN_CAUSES: Readonly<Record<GoldenCauseId, CauseRow>> = ROWS;
