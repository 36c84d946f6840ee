/** @file Which format an output file gets: its name says so. */

import { extname } from "node:path";
import type { TargetFormat } from "../convert/conversion.ts";
import { ReparamError } from "../core/errors.ts";

const FORMATS: Readonly<Record<string, TargetFormat>> = {
  ".pth": "pytorch",
  ".pt": "pytorch",
  ".ckpt": "pytorch",
  ".bin": "pytorch",
  ".safetensors": "safetensors",
  ".onnx": "onnx",
};

/** The format that a file name's ending stands for. @throws usage for any other ending */
export function targetFormat(path: string): TargetFormat {
  const ending = extname(path).toLowerCase();
  const format = Object.hasOwn(FORMATS, ending) ? FORMATS[ending] : undefined;
  if (format) return format;
  throw new ReparamError("usage", {
    where: path,
    what: `${ending === "" ? "no ending" : `ending ${ending}`}, expected one of ${Object.keys(FORMATS).join(", ")}`,
    fix: "The output's ending chooses its format",
  });
}
