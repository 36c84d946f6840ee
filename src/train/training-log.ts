/** @file A run's log: one JSON object per line, the step and epoch records as they are. */

import type { TrainRecord } from "./train-model.ts";

/** One line of the log, with its line end. */
export function formatLogRecord(record: TrainRecord): string {
  return `${JSON.stringify(record)}\n`;
}
