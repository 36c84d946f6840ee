/** @file The log of a training run on disk: JSON lines. A resumed run replaces what the run did after its checkpoint. */

import {
  appendFileSync,
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import type { TrainRecord } from "../train/train-model.ts";
import { formatLogRecord } from "../train/training-log.ts";
import { fromOsError } from "./os-error.ts";

export interface TrainingLog {
  write(record: TrainRecord): void;
  close(): void;
}

const NO_LOG: TrainingLog = { write: () => {}, close: () => {} };

/** @throws cannot-write */
export function openTrainingLog(path: string | undefined, resumes: boolean): TrainingLog {
  if (path === undefined) return NO_LOG;
  let file: number | undefined;
  const open = (record: TrainRecord): number => {
    const kept = resumes && existsSync(path) ? linesBefore(readFileSync(path, "utf8"), record) : "";
    writeFileSync(path, kept);
    return openSync(path, "a");
  };
  return {
    write: (record) => {
      try {
        file ??= open(record);
        appendFileSync(file, formatLogRecord(record));
      } catch (error) {
        throw fromOsError(error, "cannot-write", path, "the log cannot be written");
      }
    },
    close: () => {
      if (file !== undefined) closeSync(file);
    },
  };
}

/** The old log up to the first record of the resumed run; a half line at its end (the run was killed) goes too. */
function linesBefore(text: string, first: TrainRecord): string {
  const kept = text.split("\n").filter((line) => {
    try {
      const record = JSON.parse(line) as TrainRecord;
      if (first.type === "step" && record.type === "step") return record.step < first.step;
      return record.epoch < first.epoch;
    } catch {
      return false;
    }
  });
  return kept.map((line) => `${line}\n`).join("");
}
