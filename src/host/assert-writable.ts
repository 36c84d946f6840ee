/** @file Before long work: whether its outputs can be written, and are files of their own. */

import { realpath } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ReparamError } from "../core/errors.ts";
import { createFileSink } from "./file-sink.ts";

export interface PlannedOutput {
  /** For messages: "the deploy form". */
  readonly name: string;
  readonly path: string | undefined;
}

/** Two outputs under one name would replace each other. @throws usage */
export async function assertDistinct(outputs: readonly PlannedOutput[]): Promise<void> {
  const taken = new Map<string, string>();
  for (const { name, path } of outputs) {
    if (path === undefined) continue;
    const place = await placeOf(path);
    const other = taken.get(place);
    if (other !== undefined) {
      throw new ReparamError("usage", {
        where: path,
        what: `${other} and ${name} have the same name`,
        fix: "Give each a name of its own",
      });
    }
    taken.set(place, name);
  }
}

/** Opens the output as it will be opened and leaves nothing behind. @throws cannot-write */
export async function assertWritable(
  path: string | undefined,
  { force }: { readonly force: boolean },
): Promise<void> {
  if (path === undefined) return;
  const sink = await createFileSink(path, { force });
  await sink.abort();
}

/** The path without links, whether or not the file is there. */
async function placeOf(path: string): Promise<string> {
  const whole = resolve(path);
  const folder = await realpath(dirname(whole)).catch(() => dirname(whole));
  return await realpath(whole).catch(() => join(folder, basename(whole)));
}
