/** @file Hands a file to the browser's downloads. */

/** Long enough for the browser to have begun reading. */
const RELEASE_AFTER_MS = 60_000;

export function download(file: File): void {
  const url = URL.createObjectURL(file);
  const link = document.createElement("a");
  link.href = url;
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), RELEASE_AFTER_MS);
}
