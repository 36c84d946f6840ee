/** @file MNIST's idx files: a big-endian header, then bytes (yann.lecun.com/exdb/mnist). `.gz` is unpacked. */

import { badData } from "../../core/errors.ts";
import type { Dataset } from "../../train/dataset.ts";
import { readWhole } from "./read-whole.ts";

/** 0x08 = unsigned bytes, then the number of dimensions. */
const LABELS_MAGIC = 0x0801;
const IMAGES_MAGIC = 0x0803;
/** Height and width; MNIST and its relatives have 28. */
export const MAX_IDX_SIDE = 1024;

/** Images and labels of one split. Throws `bad-data` where header and length disagree, or the two files do. */
export async function openIdx(imagesPath: string, labelsPath: string): Promise<Dataset> {
  const images = await readWhole(imagesPath);
  const labels = await readWhole(labelsPath);
  const [count = 0, height = 0, width = 0] = header(imagesPath, images, IMAGES_MAGIC, 3);
  if (Math.max(height, width) > MAX_IDX_SIDE || Math.min(height, width) < 1) {
    throw badData(
      imagesPath,
      `images are ${height} × ${width}, expected 1 to ${MAX_IDX_SIDE} a side`,
    );
  }
  const [labelCount = 0] = header(labelsPath, labels, LABELS_MAGIC, 1);
  if (labelCount !== count) {
    throw badData(labelsPath, `it has ${labelCount} labels, expected ${count} as there are images`);
  }
  const size = height * width;
  const imageBytes = images.subarray(16);
  const labelBytes = labels.subarray(8);
  let classCount = 0;
  for (const label of labelBytes) classCount = Math.max(classCount, label + 1);
  return {
    name: imagesPath,
    size: count,
    shape: [1, height, width],
    classCount,
    sampleName: (index) => `${imagesPath}[${index}]`,
    load: (index) => ({
      image: imageBytes.subarray(index * size, (index + 1) * size),
      label: labelBytes[index]!,
    }),
  };
}

/** The dimensions, checked against the file's length. */
function header(path: string, bytes: Uint8Array, magic: number, rank: number): number[] {
  const start = 4 + 4 * rank;
  if (bytes.byteLength < start) {
    throw badData(path, `${bytes.byteLength} bytes, expected an idx header of ${start}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = view.getUint32(0);
  if (found !== magic) {
    const hex = (n: number): string => `0x${n.toString(16).padStart(8, "0")}`;
    throw badData(path, `it begins with ${hex(found)}, expected ${hex(magic)} of an idx file`);
  }
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const expected = start + shape.reduce((product, n) => product * n, 1);
  if (bytes.byteLength !== expected) {
    throw badData(
      path,
      `${bytes.byteLength} bytes, expected ${expected} for [${shape.join(", ")}]`,
    );
  }
  return shape;
}
