/** @file The names of a checkpoint, by prefix. */

import { badData } from "../core/errors.ts";
import { MAX_KEY_PARTS } from "./limits.ts";

export interface KeyIndex {
  /** In file order. */
  readonly keys: readonly string[];
  has(key: string): boolean;
  /** Position in `keys`; -1 if absent. */
  position(key: string): number;
  /** Keys whose last two parts (or whose whole name) are these. */
  endingIn(lastParts: string): readonly string[];
  /** Full names of the keys below a dotted prefix, in file order; all keys for `""`. */
  below(prefix: string): readonly string[];
}

/** Throws `bad-data` for a key with more than `MAX_KEY_PARTS` parts. */
export function indexKeys(names: Iterable<string>): KeyIndex {
  const keys = [...names];
  const positions = new Map(keys.map((key, i) => [key, i]));
  const byPrefix = new Map<string, string[]>([["", keys]]);
  const byEnding = new Map<string, string[]>();
  for (const key of keys) {
    const last = key.lastIndexOf(".");
    const ending = key.slice(last > 0 ? key.lastIndexOf(".", last - 1) + 1 : 0);
    const alike = byEnding.get(ending);
    if (alike) alike.push(key);
    else byEnding.set(ending, [key]);
    let parts = 0;
    for (let dot = key.indexOf("."); dot >= 0; dot = key.indexOf(".", dot + 1)) {
      if (++parts >= MAX_KEY_PARTS) {
        throw badData(
          `key ${key.slice(0, 80)}…`,
          `has more than ${MAX_KEY_PARTS} parts, expected the name of a module's tensor`,
        );
      }
      const prefix = key.slice(0, dot);
      if (prefix === "") continue;
      const list = byPrefix.get(prefix);
      if (list) list.push(key);
      else byPrefix.set(prefix, [key]);
    }
  }
  return {
    keys,
    has: (key) => positions.has(key),
    endingIn: (lastParts) => byEnding.get(lastParts) ?? [],
    position: (key) => positions.get(key) ?? -1,
    below: (prefix) => byPrefix.get(prefix) ?? [],
  };
}
