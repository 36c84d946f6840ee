/**
 * @file Memory that is used again: reading a file of hundreds of megabytes in parts into new arrays makes the garbage
 * collector run every few parts, which takes longer than the reading.
 */

export interface Memory {
  /** `byteLength` bytes of any content, apart from all others taken since the last `reset`. */
  take(byteLength: number): Uint8Array;
  /** From now on what was taken may be taken again. */
  reset(): void;
}

/** Starts empty and keeps the largest piece of every turn. */
export function createMemory(): Memory {
  const pieces: Uint8Array[] = [];
  let next = 0;
  return {
    take: (byteLength) => {
      const at = next++;
      const kept = pieces[at];
      const piece = kept && kept.byteLength >= byteLength ? kept : new Uint8Array(byteLength);
      pieces[at] = piece;
      return piece.subarray(0, byteLength);
    },
    reset: () => {
      next = 0;
    },
  };
}

/** What the last users left; the garbage collector may take it. */
const idle: WeakRef<Memory>[] = [];

/** Runs `use` with two memories that nobody else has meanwhile: one to read into while the other is in use. */
export async function withMemories<T>(
  use: (memories: readonly [Memory, Memory]) => Promise<T>,
): Promise<T> {
  const memories = [acquire(), acquire()] as const;
  const result = await use(memories);
  // Not after a failure: a read that nobody waits for any more may still be writing.
  for (const memory of memories) {
    memory.reset();
    idle.push(new WeakRef(memory));
  }
  return result;
}

function acquire(): Memory {
  while (idle.length > 0) {
    const memory = idle.pop()!.deref();
    if (memory) return memory;
  }
  return createMemory();
}
