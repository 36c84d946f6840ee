/** @file A few images of a folder as one network input. Decoded by sharp, which is loaded only for this. */

import { readdir } from "node:fs/promises";
import { extname, join } from "node:path";
import { badData } from "../core/errors.ts";
import { type Tensor, tensor } from "../core/tensor.ts";
import { fromOsError, osErrorCode } from "./os-error.ts";

const EXTENSIONS = new Set([".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".avif", ".bmp"]);
/** Pixels of one decoded image; a decompression bomb stops here. */
const MAX_IMAGE_PIXELS = 100_000_000;
/** ImageNet's channel means and standard deviations, red green blue, for values from 0 to 1 (torchvision). */
const MEAN = [0.485, 0.456, 0.406] as const;
const DEVIATION = [0.229, 0.224, 0.225] as const;

export interface ImageBatchOptions {
  /** Images taken, in alphabetical order. Default 8: more change no verdict, only the margins shown. */
  readonly count?: number | undefined;
  /** Pixels. Default 224. */
  readonly height?: number | undefined;
  /** Pixels. Default 224. */
  readonly width?: number | undefined;
}

/**
 * `[count, 3, height, width]` float32: cropped to the middle, scaled, normalised as for ImageNet.
 *
 * @throws not-found, cannot-read, bad-data (no images, or one that cannot be decoded)
 */
export async function readImageBatch(
  folder: string,
  { count = 8, height = 224, width = 224 }: ImageBatchOptions = {},
): Promise<Tensor> {
  const names = await readdir(folder).catch((error: unknown) => {
    const tag = osErrorCode(error) === "ENOENT" ? "not-found" : "cannot-read";
    throw fromOsError(error, tag, folder, "cannot be listed");
  });
  const images = names
    .filter((name) => EXTENSIONS.has(extname(name).toLowerCase()))
    .sort()
    .slice(0, count);
  if (images.length === 0) throw badData(folder, "holds no images (.jpg, .png, .webp, …)");
  const plane = height * width;
  const values = new Float32Array(images.length * 3 * plane);
  for (const [i, name] of images.entries()) {
    const pixels = await decode(join(folder, name), height, width);
    for (let channel = 0; channel < 3; channel++) {
      const offset = (3 * i + channel) * plane;
      for (let at = 0; at < plane; at++) {
        values[offset + at] =
          (pixels[3 * at + channel]! / 255 - MEAN[channel]!) / DEVIATION[channel]!;
      }
    }
  }
  return tensor("float32", [images.length, 3, height, width], values);
}

/** Red, green, blue of every pixel, row by row. */
async function decode(path: string, height: number, width: number): Promise<Uint8Array> {
  const { default: sharp } = await import("sharp");
  try {
    return await sharp(path, { limitInputPixels: MAX_IMAGE_PIXELS, failOn: "error" })
      .rotate()
      .resize({ width, height, fit: "cover" })
      .removeAlpha()
      .toColourspace("srgb")
      .raw()
      .toBuffer();
  } catch (error) {
    throw badData(path, `cannot be decoded: ${error instanceof Error ? error.message : error}`);
  }
}
