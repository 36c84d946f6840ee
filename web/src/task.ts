/** @file One long operation as the page shows it: idle, running with progress, done, failed. */

import { type Signal, signal } from "@preact/signals";
import type { Progress } from "../../src/core/task.ts";
import type { Failure } from "./worker/protocol.ts";
import { CallError, type CallOptions } from "./worker-client.ts";

export type TaskState<T> =
  | { readonly type: "idle" }
  | { readonly type: "running"; readonly progress: Progress | undefined }
  | { readonly type: "done"; readonly result: T }
  | { readonly type: "failed"; readonly failure: Failure };

export interface Task<T> {
  readonly state: Signal<TaskState<T>>;
  /** Starts over; a run that is still going on is cancelled and its result forgotten. */
  run(work: (options: CallOptions) => Promise<T>): Promise<T | undefined>;
  cancel(): void;
  reset(): void;
}

export function createTask<T>(): Task<T> {
  const state = signal<TaskState<T>>({ type: "idle" });
  let controller: AbortController | undefined;
  const reset = (): void => {
    controller?.abort();
    controller = undefined;
    state.value = { type: "idle" };
  };
  return {
    state,
    reset,
    cancel: reset,
    run: async (work) => {
      controller?.abort();
      const own = new AbortController();
      controller = own;
      state.value = { type: "running", progress: undefined };
      const onProgress = (progress: Progress): void => {
        if (controller === own) state.value = { type: "running", progress };
      };
      try {
        const result = await work({ signal: own.signal, onProgress });
        if (controller !== own) return undefined;
        state.value = { type: "done", result };
        return result;
      } catch (error) {
        if (controller === own) state.value = { type: "failed", failure: failureOf(error) };
        return undefined;
      }
    },
  };
}

function failureOf(error: unknown): Failure {
  if (error instanceof CallError) return error.failure;
  const message = error instanceof Error ? error.message : String(error);
  return { tag: "internal", message: `internal: ${message}`, choice: undefined };
}
