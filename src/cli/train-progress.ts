/** @file What a training run shows while it runs. */

import type { TrainFileOptions } from "../host/train-file.ts";
import type { EpochRecord, StepRecord } from "../train/train-model.ts";
import type { CommandContext } from "./run-command.ts";

/** The progress line per step; a line per epoch on standard error where that is no terminal, so that logs show life. */
export function trainListeners(
  context: CommandContext,
): Pick<TrainFileOptions, "onStep" | "onEpoch"> {
  let first: StepRecord | undefined;
  return {
    onStep: (record) => {
      first ??= record;
      context.onProgress?.({
        label: stepLabel(record, first),
        done: record.step,
        total: record.totalSteps,
      });
    },
    onEpoch: (record) => context.note(epochLine(record)),
  };
}

function stepLabel(record: StepRecord, first: StepRecord): string {
  const { epoch, loss, accuracy, step, totalSteps, samples, elapsedMs } = record;
  const perStepMs = (elapsedMs - first.elapsedMs) / Math.max(1, step - first.step);
  const speed = perStepMs > 0 ? `${Math.round((1000 * samples) / perStepMs)} img/s` : "";
  const left = formatDuration(perStepMs * (totalSteps - step));
  return `epoch ${epoch}  loss ${loss.toFixed(3)}  ${(100 * accuracy).toFixed(1)} %  ${speed}  ${left} left`;
}

function epochLine({ epoch, loss, accuracy, validationAccuracy }: EpochRecord): string {
  const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
  const validation =
    validationAccuracy === undefined ? "" : `, validation ${percent(validationAccuracy)}`;
  return `epoch ${epoch}: loss ${loss.toFixed(4)}, accuracy ${percent(accuracy)}${validation}`;
}

/** `4:05` or `1:02:03` */
function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((n, i) => (i === 0 ? `${n}` : `${n}`.padStart(2, "0"))).join(":");
}
