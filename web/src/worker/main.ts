/** @file The worker: answers calls one after the other, reports progress, stops when asked. */

/// <reference lib="webworker" />

import { isReparamError } from "../../../src/core/errors.ts";
import type { Progress, TaskOptions } from "../../../src/core/task.ts";
import { AmbiguousError } from "./ambiguous.ts";
import { CALLS } from "./calls.ts";
import type { Failure, FromWorker, ToWorker } from "./protocol.ts";

/** Progress messages nearer to each other than this tell nobody anything. */
const PROGRESS_INTERVAL_MS = 50;

const scope = self as unknown as DedicatedWorkerGlobalScope;
const running = new Map<number, AbortController>();
let queue: Promise<void> = Promise.resolve();

const send = (message: FromWorker): void => scope.postMessage(message);

scope.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.type === "cancel") {
    running.get(data.id)?.abort();
    return;
  }
  const controller = new AbortController();
  running.set(data.id, controller);
  queue = queue.then(() => answer(data, controller.signal));
};

async function answer(
  { id, name, params }: Extract<ToWorker, { type: "call" }>,
  signal: AbortSignal,
): Promise<void> {
  const task: TaskOptions = { signal, onProgress: throttled(id) };
  try {
    const call = CALLS[name] as (params: unknown, task: TaskOptions) => Promise<unknown>;
    const result = await call(params, task);
    send({ type: "done", id, result });
  } catch (error) {
    send({ type: "failed", id, failure: failureOf(error) });
  } finally {
    running.delete(id);
  }
}

function throttled(id: number): (progress: Progress) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (progress) => {
    const now = performance.now();
    if (now - last < PROGRESS_INTERVAL_MS) return;
    last = now;
    send({ type: "progress", id, progress });
  };
}

function failureOf(error: unknown): Failure {
  const choice = error instanceof AmbiguousError ? error.choice : undefined;
  if (isReparamError(error)) return { tag: error.tag, message: error.message, choice };
  if (error instanceof DOMException && error.name === "NotReadableError") {
    const message =
      "The browser cannot read the file any more. Was it moved or changed? Drop it again.";
    return { tag: "cannot-read", message, choice };
  }
  const said = error instanceof Error ? error.message : String(error);
  return { tag: "internal", message: `internal: ${said}. Please report this.`, choice };
}
