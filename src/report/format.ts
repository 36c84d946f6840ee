/** @file Numbers, sizes, names and tables as people read them; all pure. */

/** Lines are kept to this many characters where that is possible. */
export const LINE_WIDTH = 80;

/** `1,234,567` */
export function formatCount(n: number): string {
  // Not toLocaleString: the first call of a process loads the locale data, 30 ms.
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 block`, `2 blocks` */
export function plural(n: number, noun: string): string {
  return `${formatCount(n)} ${noun}${n === 1 ? "" : "s"}`;
}

/** Decimal units, three digits: `36.6 MB`. */
export function formatBytes(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}

/** Three significant digits, without a needless exponent: `0.0123`, `1.2e-8`, `0`, `∞`. */
export function formatNumber(value: number, digits = 3): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 10 ** Math.max(digits, 6)) {
    return `${Number(value.toPrecision(digits))}`;
  }
  const [mantissa = "", exponent = ""] = value.toExponential(digits - 1).split("e");
  return `${Number(mantissa)}e${exponent.replace("+", "")}`;
}

/** `4 × 3 × 64 × 64` */
export function formatSize(shape: readonly number[]): string {
  return shape.join(" × ");
}

/** At most `width` characters; the end of a longer text is kept, as that is what tells names apart. */
export function shorten(text: string, width: number): string {
  return text.length <= width ? text : `…${text.slice(text.length - width + 1)}`;
}

/** At most `width` characters, cut at the end. */
export function clip(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/** The first `most` names, and how many more there are. */
export function listNames(names: readonly string[], most = 4): string {
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

/** Columns aligned left, or right where `align` has an `r`; two spaces between; no trailing spaces. */
export function alignColumns(rows: readonly (readonly string[])[], align = ""): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  return rows.map((row) =>
    row
      .map((cell, i) =>
        align[i] === "r" ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
}

/** Words put into lines of at most `width` characters; the first starts with `first`, the others with `rest`. */
export function wrap(text: string, first: string, rest?: string): string[] {
  const lines: string[] = [];
  let line = first;
  let empty = true;
  for (const word of text.split(" ")) {
    if (!empty && line.length + 1 + word.length > LINE_WIDTH) {
      lines.push(line);
      line = (rest ?? first) + word;
    } else {
      line = empty ? line + word : `${line} ${word}`;
    }
    empty = false;
  }
  lines.push(line);
  return lines;
}
