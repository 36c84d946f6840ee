/** @file Opens dropped files and keeps the last few open; where the file is ambiguous, finds out what the user may choose. */

import { type ModelFile, openModelFile } from "../../../src/convert/open.ts";
import { blobSource } from "../../../src/core/byte-source.ts";
import { isReparamError, type ReparamError } from "../../../src/core/errors.ts";
import type { StateDict } from "../../../src/core/tensor.ts";
import { readCheckpoint } from "../../../src/formats/checkpoint.ts";
import { FAMILIES } from "../../../src/zoo/families/index.ts";
import { recognize } from "../../../src/zoo/recognize.ts";
import { AmbiguousError } from "./ambiguous.ts";
import type { Choice, Subject } from "./protocol.ts";

/** A pair of files, and the pair before. Only names and shapes are held, not weights. */
const MAX_OPEN = 4;

const open = new Map<string, Promise<ModelFile>>();

/** @throws what `openModelFile` throws; ambiguous with the choices */
export function openSubject(subject: Subject): Promise<ModelFile> {
  const { id, key, family, epsilon, file } = subject;
  const name = JSON.stringify([id, key, family, epsilon]);
  const known = open.get(name);
  if (known) return known;
  const source = blobSource(file.name, file);
  const opened = openModelFile(source, { key, family, epsilon }).catch(async (error: unknown) => {
    open.delete(name);
    if (!isReparamError(error, "ambiguous")) throw error;
    const { candidates } = await readCheckpoint(source);
    throw new AmbiguousError(error, {
      about: "key",
      options: candidates.map(({ path, tensors }) => ({
        value: path,
        label: `${path === "" ? "the file itself" : path} · ${tensors} tensors`,
      })),
    });
  });
  open.set(name, opened);
  for (const oldest of open.keys()) {
    if (open.size <= MAX_OPEN) break;
    open.delete(oldest);
  }
  return opened;
}

/** Runs `work` on the file; where several block families fit, says which. */
export async function withFamilyChoice<T>(file: ModelFile, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isReparamError(error, "ambiguous") || file.kind !== "checkpoint") throw error;
    throw new AmbiguousError(error, familyChoice(file.state, error));
  }
}

/** The families that fit, widest first. */
function familyChoice(state: StateDict, error: ReparamError): Choice {
  const fitting = FAMILIES.flatMap(({ name, title }) => {
    try {
      const { matches } = recognize(state, { family: name });
      const keys = matches.reduce((sum, match) => sum + match.keys.length, 0);
      return keys === 0 || !error.message.includes(name) ? [] : [{ name, title, keys }];
    } catch {
      return [];
    }
  });
  const options = fitting
    .sort((a, b) => b.keys - a.keys)
    .map(({ name, title }) => ({ value: name, label: `${name} · ${title}` }));
  return { about: "family", options };
}
