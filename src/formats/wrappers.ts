/**
 * @file Prefixes that training tools put before every key: DDP's `module.`, torch.compile's `_orig_mod.`, Lightning's
 * attribute name, a backbone inside a larger net. They are stripped to recognise the net and kept on output.
 */

const WRAPPERS: readonly string[] = [
  "module",
  "_orig_mod",
  "model",
  "network",
  "net",
  "backbone",
  "ema",
  "encoder",
  "student",
];

/** Links of a chain; `ema.module._orig_mod.model.backbone.` is five. */
const MAX_CHAIN = 6;

/**
 * The chain of well-known wrappers that more than half of the names start with, e.g. `"module._orig_mod."`; `""` if none.
 * The rest of the names (a loss, a metric, a head beside the backbone) need not share it.
 */
export function splitPrefix(names: Iterable<string>): { prefix: string } {
  let inside = [...names];
  const most = inside.length / 2;
  let prefix = "";
  for (let link = 0; link < MAX_CHAIN; link++) {
    const next = WRAPPERS.map((wrapper) => `${prefix}${wrapper}.`)
      .map((candidate) => [candidate, inside.filter((name) => name.startsWith(candidate))] as const)
      .find(([, matching]) => matching.length > most);
    if (!next) break;
    [prefix, inside] = [next[0], next[1]];
  }
  return { prefix };
}
