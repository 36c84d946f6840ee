/** @file Text into HTML and SVG, escaped once and in one place. */

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** For text and for attribute values. Characters that XML forbids become `�`. */
export function escapeText(text: string): string {
  return (
    text
      .replace(/[&<>"']/g, (character) => ESCAPES[character]!)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: file names and keys may hold any of them.
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")
  );
}

type AttributeValue = string | number | undefined;

/** One element; attributes that are undefined are left out, `content` is markup already. */
export function element(
  name: string,
  attributes: Readonly<Record<string, AttributeValue>> = {},
  content = "",
): string {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${escapeText(coordinate(value!))}"`);
  return `<${name}${written.join("")}>${content}</${name}>`;
}

/** A hundredth of a pixel is enough, and keeps the document small and the same everywhere. */
function coordinate(value: string | number): string {
  return typeof value === "string" ? value : String(Math.round(value * 100) / 100);
}
