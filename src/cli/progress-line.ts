/**
 * @file One line on standard error that shows how far the work is. Only on a terminal, and only for work that takes
 * longer than half a second: short runs print nothing that would have to be wiped away again.
 */

import type { Progress } from "../core/task.ts";

/** Work that is done sooner shows no bar. */
const SHOW_AFTER_MS = 500;
/** Time between two drawings: 12 a second look smooth and cost nothing. */
const REDRAW_MS = 80;
const BAR_CELLS = 24;
const ERASE_LINE = "\r\u001b[2K";

export interface ProgressLine {
  update(progress: Progress): void;
  /** Wipes the line; call before anything else is printed. */
  clear(): void;
}

export function createProgressLine(stream: NodeJS.WriteStream): ProgressLine {
  const start = performance.now();
  let drawnAt = 0;
  let visible = false;
  return {
    update: ({ label, done, total }) => {
      if (!stream.isTTY) return;
      const now = performance.now();
      if (now - start < SHOW_AFTER_MS || now - drawnAt < REDRAW_MS) return;
      drawnAt = now;
      visible = true;
      const part = total > 0 ? Math.min(1, done / total) : 0;
      const cells = Math.round(part * BAR_CELLS);
      const bar = "━".repeat(cells) + "─".repeat(BAR_CELLS - cells);
      const percent = `${Math.floor(part * 100)}`.padStart(3);
      const room = Math.max(0, (stream.columns ?? 80) - BAR_CELLS - 8);
      stream.write(`${ERASE_LINE}${bar} ${percent} %  ${label.slice(0, room)}`);
    },
    clear: () => {
      if (visible) stream.write(ERASE_LINE);
      visible = false;
    },
  };
}
