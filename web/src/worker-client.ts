/** @file The page's side of the worker: calls with progress and cancel. A worker that does not stop in time is replaced. */

import type { Progress } from "../../src/core/task.ts";
import type { CallName, Calls, Failure, FromWorker, ToWorker } from "./worker/protocol.ts";

/** Between two units of work the worker sees a cancel at once; a run of the runtime it does not. */
const CANCEL_GRACE_MS = 1500;

/** What a call failed with; `failure` is the worker's own account. */
export class CallError extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: CallError) => void;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

export interface CallOptions {
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

let worker: Worker | undefined;
let nextId = 1;
const pending = new Map<number, Pending>();

function start(): Worker {
  const started = new Worker(new URL("./worker/main.ts", import.meta.url), { type: "module" });
  started.onmessage = ({ data }: MessageEvent<FromWorker>) => receive(data);
  started.onerror = (event) => {
    event.preventDefault();
    // Out of memory or a script that could not be loaded: nothing will answer any more.
    replace("internal", `internal: the worker stopped: ${event.message || "no reason was given"}.`);
  };
  return started;
}

function receive(message: FromWorker): void {
  const call = pending.get(message.id);
  if (!call) return;
  if (message.type === "progress") {
    call.onProgress?.(message.progress);
    return;
  }
  pending.delete(message.id);
  if (message.type === "done") call.resolve(message.result);
  else call.reject(new CallError(message.failure));
}

function replace(tag: Failure["tag"], message: string): void {
  worker?.terminate();
  worker = undefined;
  const calls = [...pending.values()];
  pending.clear();
  for (const call of calls) call.reject(new CallError({ tag, message, choice: undefined }));
}

/** @throws CallError */
export function callWorker<Name extends CallName>(
  name: Name,
  params: Calls[Name]["params"],
  { onProgress, signal }: CallOptions = {},
): Promise<Calls[Name]["result"]> {
  worker ??= start();
  const target = worker;
  const id = nextId++;
  const answer = new Promise<unknown>((resolve, reject) => {
    pending.set(id, { resolve, reject, onProgress });
  });
  const post = (message: ToWorker): void => target.postMessage(message);
  post({ type: "call", id, name, params });
  signal?.addEventListener("abort", () => {
    post({ type: "cancel", id });
    setTimeout(() => {
      if (pending.has(id)) replace("aborted", "Stopped before it was finished.");
    }, CANCEL_GRACE_MS);
  });
  return answer as Promise<Calls[Name]["result"]>;
}
