/** @file File formats as people call them. */

import type { FileFormat } from "../formats/detect.ts";

export const FORMAT_NAMES: Readonly<Record<FileFormat, string>> = {
  "pytorch-zip": "PyTorch checkpoint",
  "pytorch-legacy": "PyTorch checkpoint (before 1.6)",
  safetensors: "safetensors",
  onnx: "ONNX model",
  npy: "NumPy array",
  npz: "NumPy archive",
};
