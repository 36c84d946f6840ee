/**
 * @file Images in ImageNet's layout: one folder per class, classes in alphabetical order. Decoded by sharp, which is
 * loaded only for this.
 */

import { readdir } from "node:fs/promises";
import { extname, join } from "node:path";
import { badData } from "../../core/errors.ts";
import type { Rng } from "../../core/rng.ts";
import type { Dataset, Sample } from "../../train/dataset.ts";
import { fromOsError } from "../os-error.ts";

export interface ImageFolderOptions {
  /** Height and width of the samples in pixels. Default 224. */
  readonly imageSize?: number;
  /** Smallest share of the image a random crop takes. Default 0.08, as for ImageNet; 1 leaves only the aspect ratio. */
  readonly minCropArea?: number;
}

const EXTENSIONS = new Set([
  ".jpg",
  ".jpeg",
  ".png",
  ".webp",
  ".gif",
  ".tif",
  ".tiff",
  ".avif",
  ".bmp",
]);
/** Refused as unreasonable rather than listed: ImageNet-21k has 21 841 classes and 14.2 million images. */
export const MAX_CLASSES = 100_000;
export const MAX_IMAGES = 50_000_000;
/** Pixels of one decoded image; a decompression bomb stops here. */
export const MAX_IMAGE_PIXELS = 100_000_000;
/** ImageNet's evaluation: the short side becomes 256 for a crop of 224. */
const EVALUATION_RATIO = 256 / 224;

interface Entry {
  readonly path: string;
  readonly label: number;
}

/** Lists a folder of class folders. Throws `not-found`, `cannot-read`, and `bad-data` for a class without images. */
export async function openImageFolder(
  folder: string,
  options: ImageFolderOptions = {},
): Promise<Dataset & { readonly classNames: readonly string[] }> {
  const { imageSize = 224, minCropArea = 0.08 } = options;
  const classNames = await subfolders(folder);
  if (classNames.length === 0) {
    throw badData(
      folder,
      "it has no folders, expected one per class",
      "Sort the images into folders",
    );
  }
  if (classNames.length > MAX_CLASSES) {
    throw badData(folder, `${classNames.length} classes, expected at most ${MAX_CLASSES}`);
  }
  const entries: Entry[] = [];
  for (const [label, name] of classNames.entries()) {
    const images = await imagesIn(join(folder, name));
    if (images.length === 0) {
      throw badData(
        join(folder, name),
        "the class has no images",
        "Remove the folder or put images into it",
      );
    }
    for (const path of images) entries.push({ path, label });
    if (entries.length > MAX_IMAGES) throw badData(folder, `more than ${MAX_IMAGES} images`);
  }
  return {
    name: folder,
    size: entries.length,
    shape: [3, imageSize, imageSize],
    classCount: classNames.length,
    classNames,
    sampleName: (index) => entries[index]!.path,
    load: async (index, rng) => {
      const { path, label } = entries[index]!;
      const image = await decode(path, imageSize, minCropArea, rng);
      return image && ({ image, label } satisfies Sample);
    },
  };
}

async function subfolders(folder: string): Promise<string[]> {
  const list = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    throw fromOsError(error, missing ? "not-found" : "cannot-read", folder, "cannot be listed");
  });
  return list
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map((entry) => entry.name)
    .sort();
}

async function imagesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw fromOsError(error, "cannot-read", folder, "cannot be listed");
  });
  return names
    .filter((name) => EXTENSIONS.has(extname(name).toLowerCase()))
    .sort()
    .map((name) => join(folder, name));
}

/** `[3, size, size]` bytes, or undefined for a file sharp cannot decode. */
async function decode(
  path: string,
  size: number,
  minCropArea: number,
  rng: Rng | undefined,
): Promise<Uint8Array | undefined> {
  const { default: sharp } = await import("sharp");
  try {
    const image = sharp(path, { limitInputPixels: MAX_IMAGE_PIXELS, failOn: "error" });
    const { width = 0, height = 0 } = await image.metadata();
    if (rng) image.extract(randomCrop(width, height, minCropArea, rng));
    else image.extract(centreCrop(width, height));
    const { data, info } = await image
      .resize(size, size, { fit: "fill" })
      .flatten()
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    return info.channels === 3 ? planar(data, size * size) : undefined;
  } catch {
    return undefined;
  }
}

interface Region {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** A region of random area (`minArea` … 1) and aspect ratio (¾ … 4/3), as Inception's training; the centre if none fits. */
export function randomCrop(width: number, height: number, minArea: number, rng: Rng): Region {
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = width * height * rng.uniform(minArea, 1);
    const ratio = Math.exp(rng.uniform(Math.log(3 / 4), Math.log(4 / 3)));
    const w = Math.round(Math.sqrt(area * ratio));
    const h = Math.round(Math.sqrt(area / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    return {
      left: rng.integer(width - w + 1),
      top: rng.integer(height - h + 1),
      width: w,
      height: h,
    };
  }
  return centreCrop(width, height);
}

/** The middle of the image that is left when its short side is scaled to 256 and 224 are cut out. */
function centreCrop(width: number, height: number): Region {
  const side = Math.max(1, Math.round(Math.min(width, height) / EVALUATION_RATIO));
  return {
    left: Math.floor((width - side) / 2),
    top: Math.floor((height - side) / 2),
    width: side,
    height: side,
  };
}

/** Interleaved pixels `[h, w, 3]` to planes `[3, h, w]`. */
function planar(pixels: Uint8Array, count: number): Uint8Array {
  const planes = new Uint8Array(3 * count);
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) planes[c * count + i] = pixels[3 * i + c]!;
  }
  return planes;
}
