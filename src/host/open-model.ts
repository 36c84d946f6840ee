/** @file A model or checkpoint on disk, opened, with everything that has to be closed again. */

import { type ModelFile, type OpenOptions, openModelFile } from "../convert/open.ts";
import type { ByteSource } from "../core/byte-source.ts";
import type { ExternalFiles } from "../formats/onnx/external-data.ts";
import { createExternalFiles } from "./external-files.ts";
import { openFile } from "./file-source.ts";

export interface OpenedModel {
  readonly path: string;
  readonly file: ModelFile;
  /** Of the file and the external data that was opened so far, bytes. */
  sizeBytes(): number;
  close(): Promise<void>;
}

/** A caller's own look at the opened file, or at the two of a comparison. */
export interface CheckFile {
  /** Called before anything else is done with the files; throw to stop. */
  readonly check?: ((file: ModelFile, deploy?: ModelFile) => void) | undefined;
}

/**
 * Opens a checkpoint or an ONNX model (external data inside the model's folder included).
 * Weights stay on the disk until they are read; call `close` when done.
 *
 * @throws not-found, cannot-read, and what `openModelFile` throws
 */
export async function openModelPath(path: string, options: OpenOptions = {}): Promise<OpenedModel> {
  const source = await openFile(path);
  const external = createExternalFiles(path);
  const data = new Map<string, number>();
  const files: ExternalFiles = {
    open: async (location) => {
      const opened: ByteSource = await external.open(location);
      data.set(location, opened.byteLength);
      return opened;
    },
  };
  const close = async (): Promise<void> => {
    await source.close();
    await external.close();
  };
  try {
    const file = await openModelFile(source, { ...options, external: files });
    const sizeBytes = (): number =>
      [...data.values()].reduce((sum, size) => sum + size, source.byteLength);
    return { path, file, sizeBytes, close };
  } catch (error) {
    await close();
    throw error;
  }
}
