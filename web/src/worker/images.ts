/** @file Images as network input: cropped to the middle, scaled, normalized as ImageNet models expect. */

import { badData } from "../../../src/core/errors.ts";
import { type Tensor, tensor } from "../../../src/core/tensor.ts";

/** Per channel, of RGB in 0 … 1 (torchvision's constants). */
const MEAN = [0.485, 0.456, 0.406] as const;
const DEVIATION = [0.229, 0.224, 0.225] as const;

/** `[1, channels, height, width]`; one channel is luminance in −1 … 1. @throws bad-data */
export async function imageTensor(
  file: File,
  channels: number,
  height: number,
  width: number,
): Promise<Tensor> {
  if (channels !== 1 && channels !== 3) {
    throw badData(file.name, `the model takes ${channels} channels, an image has 1 or 3`);
  }
  const image = await createImageBitmap(file).catch(() => {
    throw badData(
      file.name,
      "is no image that this browser can decode",
      "Give a PNG, JPEG or WebP",
    );
  });
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  const scale = Math.max(width / image.width, height / image.height);
  const [drawnWidth, drawnHeight] = [image.width * scale, image.height * scale];
  context.drawImage(
    image,
    (width - drawnWidth) / 2,
    (height - drawnHeight) / 2,
    drawnWidth,
    drawnHeight,
  );
  image.close();
  const { data } = context.getImageData(0, 0, width, height);
  const size = width * height;
  const values = new Float32Array(channels * size);
  for (let i = 0; i < size; i++) {
    const [red, green, blue] = [data[4 * i]! / 255, data[4 * i + 1]! / 255, data[4 * i + 2]! / 255];
    if (channels === 1) {
      // Rec. 601 luma, as Pillow's convert("L") has it.
      values[i] = (0.299 * red + 0.587 * green + 0.114 * blue - 0.5) / 0.5;
      continue;
    }
    for (const [c, value] of [red, green, blue].entries()) {
      values[c * size + i] = (value - MEAN[c]!) / DEVIATION[c]!;
    }
  }
  return tensor("float32", [1, channels, height, width], values);
}
