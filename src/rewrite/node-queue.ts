/** @file Nodes waiting for their turn, earliest in the graph first; each at most once. A binary heap of positions. */

export interface NodeQueue {
  push(position: number): void;
  /** The smallest position; undefined when empty. */
  pop(): number | undefined;
}

export function createNodeQueue(): NodeQueue {
  const heap: number[] = [];
  const waiting = new Set<number>();
  const swap = (a: number, b: number): void => {
    [heap[a], heap[b]] = [heap[b]!, heap[a]!];
  };
  return {
    push: (position) => {
      if (waiting.has(position)) return;
      waiting.add(position);
      heap.push(position);
      for (let i = heap.length - 1; i > 0; ) {
        const parent = (i - 1) >> 1;
        if (heap[parent]! <= heap[i]!) break;
        swap(i, parent);
        i = parent;
      }
    },
    pop: () => {
      const first = heap[0];
      const last = heap.pop();
      if (first === undefined || last === undefined) return undefined;
      waiting.delete(first);
      if (heap.length === 0) return first;
      heap[0] = last;
      for (let i = 0; ; ) {
        const left = 2 * i + 1;
        if (left >= heap.length) break;
        const right = left + 1;
        const child = right < heap.length && heap[right]! < heap[left]! ? right : left;
        if (heap[i]! <= heap[child]!) break;
        swap(i, child);
        i = child;
      }
      return first;
    },
  };
}
