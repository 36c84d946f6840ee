/** @file How a line is emphasised: the terminal gives colours, everything else plain text. */

export interface Style {
  /** Headings. */
  bold(text: string): string;
  /** Less important. */
  dim(text: string): string;
  good(text: string): string;
  warn(text: string): string;
  bad(text: string): string;
}

const same = (text: string): string => text;

export const PLAIN: Style = { bold: same, dim: same, good: same, warn: same, bad: same };
