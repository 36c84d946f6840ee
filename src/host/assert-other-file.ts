/** @file A job's output must not be its input, by whatever name. */

import { realpath } from "node:fs/promises";
import { ReparamError } from "../core/errors.ts";

/** @throws usage, `why` being what the input is still needed for */
export async function assertOtherFile(input: string, output: string, why: string): Promise<void> {
  const resolved = (path: string): Promise<string | undefined> =>
    realpath(path).catch(() => undefined);
  const [from, to] = [await resolved(input), await resolved(output)];
  if (from === undefined || from !== to) return;
  throw new ReparamError("usage", {
    where: output,
    what: "the output is the input file itself",
    fix: `Choose another name: ${why}`,
  });
}
