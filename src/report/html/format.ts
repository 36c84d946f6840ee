/** @file Numbers as people read them. */

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** `10⁻⁷` */
export function formatPower(exponent: number): string {
  const digits = [...String(Math.abs(exponent))].map((digit) => SUPERSCRIPT[Number(digit)]);
  return `10${exponent < 0 ? "⁻" : ""}${digits.join("")}`;
}

/** `3.2×10⁻⁷`; plain digits between 0.001 and 10 000. */
export function formatNumber(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "not a number" : "∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e4) return String(Number(value.toPrecision(digits)));
  return formatExponents(value.toExponential(digits - 1));
}

/** Numbers of a text such as `4.50e+5` written `4.5×10⁵`. */
export function formatExponents(text: string): string {
  return text.replace(
    /\b(\d+(?:\.\d+)?)e([+-]\d+)\b/g,
    (_, mantissa: string, exponent: string) =>
      `${Number(mantissa)}×${formatPower(Number(exponent))}`,
  );
}

/** `8.31 M`, `1.52 G`, `940` */
export function formatShort(value: number): string {
  for (const [unit, size] of [
    ["G", 1e9],
    ["M", 1e6],
    ["k", 1e3],
  ] as const) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))} ${unit}`;
  }
  return String(value);
}

/** `−8.1 %` */
export function formatChange(before: number, after: number): string {
  if (before === 0) return "–";
  const percent = ((after - before) / before) * 100;
  const text = Math.abs(percent).toFixed(1);
  return text === "0.0" ? "same" : `${percent < 0 ? "−" : "+"}${text} %`;
}

/** `0.94 s`, `12 ms` */
export function formatDuration(ms: number): string {
  if (ms >= 60_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
  return ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${Number(ms.toPrecision(3))} ms`;
}
