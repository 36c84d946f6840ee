/** @file A training run's log as curves: parsed line by line, thinned to what a figure can show. */

import { badData } from "../../core/errors.ts";
import type { TrainRecord } from "../../train/train-model.ts";

export interface CurveStep {
  readonly step: number;
  readonly loss: number;
  readonly accuracy: number;
  readonly learningRate: number;
}

export interface CurveEpoch {
  readonly epoch: number;
  /** The last step of the epoch. */
  readonly step: number;
  readonly loss: number;
  readonly accuracy: number;
  readonly validationAccuracy: number | undefined;
}

export interface CurveView {
  readonly name: string;
  /** At most `MAX_POINTS`, each the mean of the steps it stands for. */
  readonly steps: readonly CurveStep[];
  readonly epochs: readonly CurveEpoch[];
  readonly totalSteps: number;
  readonly elapsedMs: number;
}

export const MAX_POINTS = 600;
/** Above real logs by orders of magnitude; bounds time and memory on hostile ones. */
export const MAX_LOG_LINES = 5_000_000;
export const MAX_LINE_CHARACTERS = 10_000;

export interface CurveBuilder {
  /** One line of the log, without its line end. */
  addLine(line: string): void;
  add(record: Readonly<Record<string, unknown>>): void;
  finish(): CurveView;
}

/** @throws bad-data naming the line that is no training record */
export function createCurve(name: string): CurveBuilder {
  const steps: CurveStep[] = [];
  const epochs: CurveEpoch[] = [];
  let [lines, elapsedMs] = [0, 0];
  const add = (record: Readonly<Record<string, unknown>>): void => {
    elapsedMs = Math.max(elapsedMs, finite(record["elapsedMs"]) ?? 0);
    const loss = finite(record["loss"]) ?? Number.NaN;
    const accuracy = finite(record["accuracy"]) ?? Number.NaN;
    if (record["type"] === "step") {
      const step = finite(record["step"]) ?? steps.length + 1;
      const learningRate = finite(record["learningRate"]) ?? Number.NaN;
      steps.push({ step, loss, accuracy, learningRate });
    } else if (record["type"] === "epoch") {
      const epoch = finite(record["epoch"]) ?? epochs.length;
      const validationAccuracy = finite(record["validationAccuracy"]);
      epochs.push({ epoch, step: steps.at(-1)?.step ?? 0, loss, accuracy, validationAccuracy });
    }
  };
  return {
    add,
    addLine: (line) => {
      lines++;
      if (lines > MAX_LOG_LINES) throw badData(name, `more than ${MAX_LOG_LINES} lines`);
      if (line.trim() !== "") add(parseLine(name, lines, line));
    },
    finish: () => {
      if (steps.length === 0 && epochs.length === 0) {
        throw badData(
          name,
          "holds no step and no epoch of a training run",
          "Give the run.jsonl that `reparam train` writes",
        );
      }
      const totalSteps = steps.at(-1)?.step ?? 0;
      return { name, steps: thinned(steps), epochs, totalSteps, elapsedMs };
    },
  };
}

/** A run's history as `trainModel` gives it. */
export function curveOf(name: string, records: readonly TrainRecord[]): CurveView {
  const curve = createCurve(name);
  for (const record of records) curve.add({ ...record });
  return curve.finish();
}

/** @throws bad-data */
export function parseCurve(name: string, text: string): CurveView {
  const curve = createCurve(name);
  for (const line of text.split("\n")) curve.addLine(line);
  return curve.finish();
}

function parseLine(name: string, at: number, line: string): Record<string, unknown> {
  const where = `${name}: line ${at}`;
  if (line.length > MAX_LINE_CHARACTERS) {
    throw badData(where, `${line.length} characters, expected at most ${MAX_LINE_CHARACTERS}`);
  }
  let record: unknown;
  try {
    record = JSON.parse(line);
  } catch {
    throw badData(where, "is not JSON", "Give the run.jsonl that `reparam train` writes");
  }
  if (typeof record !== "object" || record === null || Array.isArray(record)) {
    throw badData(where, "is not a JSON object", "Give the run.jsonl that `reparam train` writes");
  }
  return record as Record<string, unknown>;
}

function finite(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function thinned(steps: readonly CurveStep[]): CurveStep[] {
  const size = Math.ceil(steps.length / MAX_POINTS);
  if (size <= 1) return [...steps];
  const result: CurveStep[] = [];
  for (let i = 0; i < steps.length; i += size) {
    const part = steps.slice(i, i + size);
    const mean = (key: keyof CurveStep): number =>
      part.reduce((sum, step) => sum + step[key], 0) / part.length;
    const { step, learningRate } = part.at(-1)!;
    result.push({ step, loss: mean("loss"), accuracy: mean("accuracy"), learningRate });
  }
  return result;
}
