/** @file Keys with number variables: `rbr_conv.{n}.conv.weight`, `dil_conv_k{k}_{r}.weight`. */

export type Variables = ReadonlyMap<string, number>;

const NO_VARIABLES: Variables = new Map();

const VARIABLE = /\{([a-z]+)\}/g;

export function hasVariables(template: string): boolean {
  return template.includes("{");
}

/** Puts the numbers in; variables that have none stay. */
export function substitute(template: string, variables: Variables): string {
  if (!hasVariables(template)) return template;
  return template.replace(VARIABLE, (whole, name: string) => {
    const value = variables.get(name);
    return value === undefined ? whole : String(value);
  });
}

export interface TemplateMatcher {
  /** The numbers with which the template is the key, or undefined. */
  whole(key: string): Variables | undefined;
  /** The same for a key that ends in the template, after nothing or a dot; `prefix` is what stands before. */
  tail(key: string): { readonly prefix: string; readonly variables: Variables } | undefined;
}

/** Compiles a template. Numbers have at most six digits and no leading zeros, so every key has one reading. */
export function templateMatcher(template: string): TemplateMatcher {
  if (!hasVariables(template)) return literalMatcher(template);
  const names: string[] = [];
  let pattern = "";
  let end = 0;
  for (const found of template.matchAll(VARIABLE)) {
    pattern += literal(template.slice(end, found.index));
    const name = found[1] ?? "";
    const earlier = names.indexOf(name);
    pattern += earlier < 0 ? "(0|[1-9]\\d{0,5})" : `\\${earlier + 2}`;
    if (earlier < 0) names.push(name);
    end = found.index + found[0].length;
  }
  pattern += literal(template.slice(end));
  const expression = new RegExp(`^(|.*\\.)${pattern}$`, "s");
  const tail: TemplateMatcher["tail"] = (key) => {
    const groups = expression.exec(key);
    if (!groups) return undefined;
    const variables = new Map(names.map((name, i) => [name, Number(groups[i + 2])]));
    return { prefix: (groups[1] ?? "").replace(/\.$/, ""), variables };
  };
  return {
    tail,
    whole: (key) => {
      const found = tail(key);
      return found?.prefix === "" && !key.startsWith(".") ? found.variables : undefined;
    },
  };
}

/** Most templates: tens of thousands of keys are held against them, so no expression is made for them. */
function literalMatcher(template: string): TemplateMatcher {
  const ending = `.${template}`;
  return {
    whole: (key) => (key === template ? NO_VARIABLES : undefined),
    tail: (key) => {
      if (key === template) return { prefix: "", variables: NO_VARIABLES };
      if (!key.endsWith(ending)) return undefined;
      return { prefix: key.slice(0, -ending.length), variables: NO_VARIABLES };
    },
  };
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

/** `prefix.suffix`; the root prefix is the empty string, and an empty suffix names the prefix itself. */
export function joinKey(prefix: string, suffix: string): string {
  return prefix === "" || suffix === "" ? prefix + suffix : `${prefix}.${suffix}`;
}

/** Whether a relative key is covered by a list of keys and `below.**` patterns. */
export function isCovered(key: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) =>
    pattern.endsWith(".**") ? key.startsWith(pattern.slice(0, -2)) : key === pattern,
  );
}

/** How many parts of `prefix` a pattern like `stage#.#` matches at its end; 0 if it does not match. */
export function matchPrefixPattern(pattern: string, prefix: string): number {
  const whole = pattern.startsWith("^");
  const wanted = (whole ? pattern.slice(1) : pattern).split(".");
  const parts = prefix.split(".");
  if (wanted.length > parts.length || (whole && wanted.length !== parts.length)) return 0;
  const tail = parts.slice(parts.length - wanted.length);
  return wanted.every((part, i) => matchPart(part, tail[i] ?? "")) ? wanted.length : 0;
}

function matchPart(pattern: string, part: string): boolean {
  if (pattern === "*") return true;
  const [head = "", ...rest] = pattern.split("#");
  if (rest.length === 0) return pattern === part;
  const tail = rest.join("#");
  return (
    part.startsWith(head) &&
    part.endsWith(tail) &&
    /^\d+$/.test(part.slice(head.length, part.length - tail.length))
  );
}
