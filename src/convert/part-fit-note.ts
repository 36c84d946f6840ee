/** @file In words, why something that looks like a block is none. */

import type { PartFit } from "../zoo/recognize.ts";

export function partFitNote({ prefix, family, kind, missing, unexplained }: PartFit): string {
  const lacks = missing.length > 0 ? `lacks ${listed(missing)}` : "";
  const extra = unexplained.length > 0 ? `has ${listed(unexplained)} besides` : "";
  const why = [lacks, extra].filter((part) => part !== "").join(" and ");
  return `${prefix}: looks like a ${kind} of ${family} but ${why}`;
}

/** The first few names, and how many more there are. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(", ");
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}
