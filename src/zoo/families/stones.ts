/** @file Stones that several rows share. */

import type { Stone } from "../family.ts";

/** A convolution module and the BatchNorm after it. */
export function convBn(conv: string, bn: string): Stone {
  return { sequence: [{ conv }, { bn }] };
}

/** The same, left out where the checkpoint has no such keys. */
export function optionalConvBn(conv: string, bn: string): Stone {
  return { sequence: [{ conv }, { bn }], optional: true };
}

/** One conv + BatchNorm per number, added up. */
export function repeatedConvBn(list: string, bn = "bn"): Stone {
  return {
    each: `${list}.{n}.conv.weight`,
    join: "sum",
    stone: convBn(`${list}.{n}.conv`, `${list}.{n}.${bn}`),
  };
}
