/** @file CIFAR's binary files: per record one label (CIFAR-100: coarse, then fine) and 3 × 32 × 32 bytes. */

import { basename } from "node:path";
import { badData } from "../../core/errors.ts";
import type { Dataset } from "../../train/dataset.ts";
import { readWhole } from "./read-whole.ts";

const SHAPE = [3, 32, 32];
const IMAGE_BYTES = 3 * 32 * 32;

/** One split from its files. Throws `bad-data` for a length that is no number of records, or a label out of range. */
export async function openCifar(paths: readonly string[], classCount: 10 | 100): Promise<Dataset> {
  const labelBytes = classCount === 100 ? 2 : 1;
  const recordBytes = labelBytes + IMAGE_BYTES;
  const records: { readonly file: string; readonly bytes: Uint8Array }[] = [];
  for (const path of paths) {
    const bytes = await readWhole(path);
    if (bytes.byteLength === 0 || bytes.byteLength % recordBytes !== 0) {
      throw badData(
        path,
        `${bytes.byteLength} bytes, expected a multiple of the ${recordBytes} of a CIFAR-${classCount} record`,
      );
    }
    for (let start = 0; start < bytes.byteLength; start += recordBytes) {
      const label = bytes[start + labelBytes - 1]!;
      if (label >= classCount) {
        throw badData(
          path,
          `record ${start / recordBytes} has label ${label}, expected below ${classCount}`,
        );
      }
      records.push({ file: path, bytes: bytes.subarray(start, start + recordBytes) });
    }
  }
  return {
    name: paths.map((path) => basename(path)).join(", "),
    size: records.length,
    shape: SHAPE,
    classCount,
    sampleName: (index) => `${records[index]?.file}[${index}]`,
    load: (index) => {
      const record = records[index]!.bytes;
      return { image: record.subarray(labelBytes), label: record[labelBytes - 1]! };
    },
  };
}
