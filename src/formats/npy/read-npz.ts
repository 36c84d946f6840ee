/** @file NumPy's `.npz`: a zip archive of `.npy` files, stored (`savez`) or deflated (`savez_compressed`). */

import type { ByteSource } from "../../core/byte-source.ts";
import { badData } from "../../core/errors.ts";
import type { LazyTensor } from "../../core/tensor.ts";
import { readZip, type ZipArchive, zipEntrySource } from "../zip/read-zip.ts";
import { readNpy } from "./read-npy.ts";

/** Reads the headers of all arrays, by name without `.npy`. @throws bad-data as `readNpy` and `readZip` do */
export async function readNpz(source: ByteSource): Promise<Map<string, LazyTensor>> {
  return npzTensors(await readZip(source));
}

/** As `readNpz`, from an archive whose directory is already read. */
export async function npzTensors(archive: ZipArchive): Promise<Map<string, LazyTensor>> {
  const tensors = new Map<string, LazyTensor>();
  for (const [name, entry] of archive.entries) {
    if (!name.endsWith(".npy")) {
      throw badData(`${archive.source.name}: ${name}`, "is not a .npy array, expected only those");
    }
    tensors.set(name.slice(0, -".npy".length), await readNpy(zipEntrySource(archive, entry)));
  }
  return tensors;
}
