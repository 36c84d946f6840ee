/** @file What every long operation accepts: progress and cancellation. */

export interface Progress {
  /** What is being done now, e.g. a block's prefix. */
  readonly label: string;
  /** Units done and units in all; bytes or blocks, the ratio is what counts. */
  readonly done: number;
  readonly total: number;
}

export interface TaskOptions {
  /** Called often and synchronously; keep it cheap. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Stops the work between two units with a `ReparamError` tagged `aborted`. */
  readonly signal?: AbortSignal | undefined;
}

/** The options of one part of a task: its labels begin with the part's name. */
export function phase(name: string, { onProgress, signal }: TaskOptions): TaskOptions {
  if (!onProgress) return { signal };
  return {
    signal,
    onProgress: (progress) => onProgress({ ...progress, label: `${name} ${progress.label}` }),
  };
}
