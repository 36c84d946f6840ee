/**
 * @file Temporary files that must not outlive the process.
 * They are removed when the process exits, and on SIGINT, SIGTERM and SIGHUP where nobody else listens to those.
 */

import { unlinkSync } from "node:fs";

const live = new Set<string>();
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Call before the file is created. */
export function registerTemporary(path: string): void {
  if (live.size === 0) {
    process.on("exit", removeAll);
    for (const signal of SIGNALS) process.on(signal, onSignal);
  }
  live.add(path);
}

/** Call when the file is gone or has its final name. */
export function releaseTemporary(path: string): void {
  if (!live.delete(path) || live.size > 0) return;
  process.off("exit", removeAll);
  for (const signal of SIGNALS) process.off(signal, onSignal);
}

function removeAll(): void {
  for (const path of [...live]) {
    try {
      unlinkSync(path);
    } catch {
      // Already gone, or not removable: the process is ending and there is nobody to tell.
    }
    releaseTemporary(path);
  }
}

function onSignal(signal: NodeJS.Signals): void {
  // Somebody else decides when to stop (the command line turns SIGINT into an AbortSignal); `exit` still cleans up.
  if (process.listenerCount(signal) > 1) return;
  removeAll();
  // With our listener gone the signal has its default meaning again.
  process.kill(process.pid, signal);
}
