/**
 * @file PyTorch's container before 1.6: five pickles in a row (magic number, protocol, machine, object, storage keys),
 * then per key an int64 element count and the raw elements.
 */

import type { ByteSource } from "../../core/byte-source.ts";
import { DTYPE_BYTES } from "../../core/dtype.ts";
import { badData } from "../../core/errors.ts";
import { readRange, subSource } from "../read-range.ts";
import { isCutOff, type ParsedPickle, type PickleOptions, parsePickle } from "./parse-pickle.ts";
import type { PickleFile } from "./pickle-file.ts";
import { MAX_PICKLE_BYTES } from "./pickle-limits.ts";
import {
  isDict,
  isRecord,
  type PickleStorage,
  type PickleValue,
  sequenceItems,
} from "./pickle-value.ts";
import { storageOf } from "./rebuild-tensor.ts";

const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;
const COUNT_BYTES = 8;
/** First guess at how far the pickles reach; multiplied until they end. */
const FIRST_WINDOW_BYTES = 64 * 1024;
const WINDOW_GROWTH = 4;

/** Whether a file that starts with a pickle starts with PyTorch's magic number. */
export function hasLegacyMagic(head: Uint8Array): boolean {
  try {
    return parsePickle("magic number", head).value === MAGIC;
  } catch {
    return false;
  }
}

/**
 * Reads the pickles; storages stay in the file.
 *
 * @throws bad-data for other protocols, big-endian files, missing or cut-off storages, hostile pickles
 */
export async function readLegacyFile(source: ByteSource): Promise<PickleFile> {
  const where = source.name;
  const storages = new Map<string, PickleStorage>();
  const options: PickleOptions = {
    persistentId: (id) => {
      const [tag, cls] = sequenceItems(id) ?? [];
      // Whole modules store their class with its source text: ("module", class, file, source).
      if (tag === "module" && cls !== undefined) return cls;
      const storage = storageOf(where, id);
      rememberRoot(where, storages, id, storage);
      return storage;
    },
  };
  const pickles = await readPickles(source, options);
  const [magic, protocol, machine, root, keys] = pickles.values;
  if (magic !== MAGIC) throw badData(where, "a pickle without PyTorch's magic number");
  if (protocol !== PROTOCOL) {
    throw badData(where, `legacy protocol ${String(protocol)}, expected ${PROTOCOL}`);
  }
  if (isDict(machine) && machine.strings.get("little_endian") === false) {
    throw badData(
      where,
      "big-endian data, expected little-endian",
      "Save the checkpoint again on a little-endian machine",
    );
  }
  const places = placeStorages(source, storages, keys, pickles.end);
  return {
    root: root ?? null,
    locate: (storage) => {
      const place = places.get(storage.key);
      if (!place) throw badData(where, `storage ${storage.key} is missing`, "The file is damaged");
      return place;
    },
  };
}

async function readPickles(
  source: ByteSource,
  options: PickleOptions,
): Promise<{ values: PickleValue[]; end: number }> {
  const values: PickleValue[] = [];
  let end = 0;
  let windowBytes = FIRST_WINDOW_BYTES;
  for (;;) {
    const reach = Math.min(source.byteLength, windowBytes, MAX_PICKLE_BYTES);
    const bytes = await readRange(source, 0, reach, "pickles");
    try {
      while (values.length < 5) {
        const parsed: ParsedPickle = parsePickle(source.name, bytes, end, options);
        values.push(parsed.value);
        end = parsed.end;
      }
      return { values, end };
    } catch (error) {
      if (!isCutOff(error) || reach === source.byteLength) throw error;
      if (reach === MAX_PICKLE_BYTES) {
        throw badData(source.name, `pickles of more than ${MAX_PICKLE_BYTES} bytes`);
      }
      windowBytes *= WINDOW_GROWTH;
    }
  }
}

function rememberRoot(
  where: string,
  storages: Map<string, PickleStorage>,
  id: PickleValue,
  storage: PickleStorage,
): void {
  const items = sequenceItems(id) ?? [];
  const root =
    items.length > 5 ? storageOf(where, { kind: "tuple", items: items.slice(0, 5) }) : storage;
  const known = storages.get(storage.key);
  if (known && (known.sizeBytes !== root.sizeBytes || known.dtype !== root.dtype)) {
    throw badData(where, `storage ${storage.key} is announced with two sizes or types`);
  }
  storages.set(storage.key, root);
}

/** Storages lie one after the other, in the order of the keys; their sizes are known from the pickle. */
function placeStorages(
  source: ByteSource,
  storages: ReadonlyMap<string, PickleStorage>,
  keys: PickleValue | undefined,
  start: number,
): Map<string, ByteSource> {
  const places = new Map<string, ByteSource>();
  const list = sequenceItems(keys);
  if (!list) throw badData(source.name, "the list of storage keys is missing");
  let at = start;
  for (const key of list) {
    const storage = storages.get(String(isRecord(key) ? "" : key));
    if (!storage || places.has(storage.key)) {
      throw badData(
        source.name,
        "the storage keys do not match the tensors",
        "The file is damaged",
      );
    }
    if (storage.refused !== undefined) {
      throw badData(
        source.name,
        `holds ${storage.refused}, whose size is unknown, so nothing after it can be found`,
        "Load the file in PyTorch and save it again with torch.save",
      );
    }
    const dataStart = at + COUNT_BYTES;
    const end = dataStart + storage.sizeBytes;
    if (!(end <= source.byteLength)) {
      throw badData(
        `${source.name}: storage ${storage.key}`,
        `ends at byte ${end}, the file has ${source.byteLength}`,
        "The file is cut off; fetch it again",
      );
    }
    places.set(storage.key, countedSource(source, storage, at));
    at = end;
  }
  return places;
}

/** The elements after their count; the count is compared before the first read. */
function countedSource(source: ByteSource, storage: PickleStorage, at: number): ByteSource {
  const start = at + COUNT_BYTES;
  const data = subSource(source, start, start + storage.sizeBytes);
  const expected = storage.sizeBytes / (storage.dtype ? DTYPE_BYTES[storage.dtype] : 1);
  let checked = false;
  return {
    ...data,
    slice: async (from, to, into) => {
      if (!checked) {
        const head = await readRange(source, at, start, `storage ${storage.key}`);
        const count = new DataView(head.buffer, head.byteOffset).getBigInt64(0, true);
        if (count !== BigInt(expected)) {
          throw badData(
            `${source.name}: storage ${storage.key}`,
            `${count} elements are stored, ${expected} are announced`,
            "The file is damaged; fetch it again",
          );
        }
        checked = true;
      }
      return data.slice(from, to, into);
    },
  };
}
