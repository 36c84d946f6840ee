/** @file Name patterns as on a shell: `*` stands for any characters, commas separate alternatives. */

import { ReparamError } from "../../core/errors.ts";

/** Longest pattern, in characters: it becomes a regular expression. */
const MAX_PATTERN_LENGTH = 1000;

/** Whether a name fits any of the comma-separated patterns. Throws `usage` for an empty or overlong pattern. */
export function namePattern(text: string): (name: string) => boolean {
  const parts = text.split(",").map((part) => part.trim());
  if (text.length > MAX_PATTERN_LENGTH || parts.some((part) => part === "")) {
    throw new ReparamError("usage", {
      where: `pattern "${text.slice(0, 40)}"`,
      what: `it is empty, has an empty part, or more than ${MAX_PATTERN_LENGTH} characters`,
      fix: "Write names with * for any characters, separated by commas",
    });
  }
  return (name) => parts.some((part) => matches(part.replace(/\*+/g, "*").split("*"), name));
}

/** The literal pieces in order; the first at the start, the last at the end. Linear in the name for each piece. */
function matches(pieces: readonly string[], name: string): boolean {
  const [first = "", ...rest] = pieces;
  if (rest.length === 0) return name === first;
  const last = rest.pop()!;
  if (!name.startsWith(first) || !name.endsWith(last)) return false;
  let at = first.length;
  for (const piece of rest) {
    const found = name.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return at <= name.length - last.length;
}
