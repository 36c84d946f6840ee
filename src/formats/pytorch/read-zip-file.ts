/**
 * @file PyTorch's zip container (since 1.6): `<root>/data.pkl`, one stored entry `<root>/data/<key>` per storage,
 * `<root>/version`, and since 2.1 `<root>/byteorder`.
 */

import { badData } from "../../core/errors.ts";
import { readZipEntry, type ZipArchive, zipEntrySource } from "../zip/read-zip.ts";
import { parsePickle } from "./parse-pickle.ts";
import type { PickleFile } from "./pickle-file.ts";
import { MAX_PICKLE_BYTES } from "./pickle-limits.ts";
import type { PickleStorage } from "./pickle-value.ts";
import { storageOf } from "./rebuild-tensor.ts";

/** Container versions PyTorch has written for checkpoints; 4 and later are TorchScript's. */
const VERSIONS = new Set(["1", "2", "3"]);
const MAX_NOTE_BYTES = 64;

/** The folder of the archive's `data.pkl`; undefined if there is none. Throws `bad-data` if there are several. */
export function pickleFolder(archive: ZipArchive): string | undefined {
  const folders: string[] = [];
  for (const name of archive.entries.keys()) {
    const parts = name.split("/");
    if (parts.length <= 2 && parts.at(-1) === "data.pkl")
      folders.push(name.slice(0, -"data.pkl".length));
  }
  if (folders.length > 1) {
    throw badData(archive.source.name, `${folders.length} entries called data.pkl, expected one`);
  }
  return folders[0];
}

/**
 * Reads the pickle; storages stay in the file.
 *
 * @throws bad-data for other versions, big-endian files, missing or short storages, hostile pickles
 */
export async function readZipFile(archive: ZipArchive, folder: string): Promise<PickleFile> {
  const where = archive.source.name;
  const version = await readNote(archive, `${folder}version`);
  if (version !== undefined && !VERSIONS.has(version)) {
    throw badData(where, `container version ${JSON.stringify(version)}, expected 1, 2 or 3`);
  }
  const order = await readNote(archive, `${folder}byteorder`);
  if (order !== undefined && order !== "little") {
    throw badData(
      where,
      `byte order ${JSON.stringify(order)}, expected "little"`,
      "Save the checkpoint again on a little-endian machine",
    );
  }
  const entry = archive.entries.get(`${folder}data.pkl`);
  if (!entry) throw badData(where, "no data.pkl, expected one");
  if (entry.sizeBytes > MAX_PICKLE_BYTES) {
    throw badData(
      `${where}: data.pkl`,
      `${entry.sizeBytes} bytes, expected at most ${MAX_PICKLE_BYTES}`,
    );
  }
  const pickle = await readZipEntry(archive, entry);
  const storages = new Map<string, ReturnType<typeof zipEntrySource>>();
  const locate = (storage: PickleStorage): ReturnType<typeof zipEntrySource> => {
    const known = storages.get(storage.key);
    if (known) return known;
    const name = `${folder}data/${storage.key}`;
    const data = archive.entries.get(name);
    if (!data) {
      throw badData(
        `${where}: ${name}`,
        "is missing, but a tensor needs it",
        "The file is damaged",
      );
    }
    const source = zipEntrySource(archive, data);
    storages.set(storage.key, source);
    return source;
  };
  const { value } = parsePickle(`${where}: data.pkl`, pickle, 0, {
    persistentId: (id) => {
      const storage = storageOf(where, id);
      const { byteLength } = locate(storage);
      const needed = storage.offsetBytes + storage.sizeBytes;
      if (storage.refused === undefined && byteLength < needed) {
        throw badData(
          `${where}: storage ${storage.key}`,
          `${byteLength} bytes are stored, ${needed} are announced`,
          "The file is damaged; fetch it again",
        );
      }
      return storage;
    },
  });
  return { root: value, locate };
}

async function readNote(archive: ZipArchive, name: string): Promise<string | undefined> {
  const entry = archive.entries.get(name);
  if (!entry) return undefined;
  if (entry.sizeBytes > MAX_NOTE_BYTES) {
    throw badData(
      `${archive.source.name}: ${name}`,
      `${entry.sizeBytes} bytes, expected at most ${MAX_NOTE_BYTES}`,
    );
  }
  return new TextDecoder().decode(await readZipEntry(archive, entry)).trim();
}
