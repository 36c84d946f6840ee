/** @file A task's progress with its cancel button, or its failure in the command line's words. */

import type { JSX } from "preact";
import type { Task } from "../task.ts";

interface Props<T> {
  readonly task: Task<T>;
  /** What is being done, e.g. `Reading model.pth`. */
  readonly label: string;
}

export function TaskStatus<T>({ task, label }: Props<T>): JSX.Element | null {
  const state = task.state.value;
  if (state.type === "running") {
    const { progress } = state;
    return (
      <div class="progress" role="status">
        <span class="progress-label">
          {label}
          {progress && <span class="soft"> · {progress.label}</span>}
        </span>
        <progress
          aria-label={label}
          {...(progress ? { value: progress.done, max: progress.total } : {})}
        />
        <button type="button" class="quiet" onClick={task.cancel}>
          Cancel
        </button>
      </div>
    );
  }
  if (state.type === "failed" && state.failure.choice === undefined) {
    return (
      <p class="failure" role="alert">
        {state.failure.message}
      </p>
    );
  }
  return null;
}
