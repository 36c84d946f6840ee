/** @file External tensor data of an ONNX model on disk: only files inside the model's own folder. */

import { realpath } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import type { ByteSource } from "../core/byte-source.ts";
import { badData, ReparamError } from "../core/errors.ts";
import { assertLocation, type ExternalFiles } from "../formats/onnx/external-data.ts";
import { type FileSource, openFile } from "./file-source.ts";
import { fromOsError, osErrorCode } from "./os-error.ts";

/** Different data files of one model: each stays open, and an operating system allows about 1000. */
const MAX_OPEN_FILES = 256;

export interface OpenExternalFiles extends ExternalFiles {
  /** Closes every file that was opened. */
  close(): Promise<void>;
}

/**
 * Data files beside `modelPath`. Symbolic links are followed only while they stay inside the model's folder.
 *
 * `open` throws `bad-data` (a location outside the folder, too many files) and what `openFile` throws.
 */
export function createExternalFiles(modelPath: string): OpenExternalFiles {
  const opened = new Map<string, Promise<FileSource>>();
  const open = async (location: string): Promise<FileSource> => {
    assertLocation(modelPath, location);
    const folder = await realpath(dirname(resolve(modelPath))).catch((error: unknown) => {
      throw fromOsError(error, "cannot-read", modelPath, "cannot read its folder");
    });
    const wanted = join(folder, ...location.split("/"));
    const target = await realpath(wanted).catch((error: unknown) => {
      throw osErrorCode(error) === "ENOENT"
        ? missing(modelPath, location, error)
        : fromOsError(error, "cannot-read", wanted, "cannot read");
    });
    const inside = relative(folder, target);
    if (
      inside === "" ||
      inside === ".." ||
      inside.startsWith(`..${sep}`) ||
      resolve(inside) === inside
    ) {
      throw badData(
        modelPath,
        `external data ${JSON.stringify(location)} leads outside the model's folder`,
        "Copy the data file itself beside the model",
      );
    }
    return await openFile(target);
  };
  return {
    open: (location): Promise<ByteSource> => {
      const known = opened.get(location);
      if (known) return known;
      if (opened.size >= MAX_OPEN_FILES) {
        return Promise.reject(
          badData(modelPath, `it names more than ${MAX_OPEN_FILES} external data files`),
        );
      }
      const source = open(location);
      opened.set(location, source);
      return source;
    },
    close: async () => {
      const sources = await Promise.allSettled(opened.values());
      opened.clear();
      for (const source of sources) if (source.status === "fulfilled") await source.value.close();
    },
  };
}

function missing(modelPath: string, location: string, cause: unknown): ReparamError {
  return new ReparamError("not-found", {
    where: modelPath,
    what: `its external data file ${JSON.stringify(location)} does not exist`,
    fix: "Put the data file beside the model",
    cause,
  });
}
