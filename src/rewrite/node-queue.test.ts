import fc from "fast-check";
import { expect, test } from "vitest";
import { createNodeQueue } from "./node-queue.ts";

test("gives each waiting position once, smallest first", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(50)), (positions) => {
      const queue = createNodeQueue();
      for (const position of positions) queue.push(position);
      const given: number[] = [];
      for (let next = queue.pop(); next !== undefined; next = queue.pop()) given.push(next);
      expect(given).toEqual([...new Set(positions)].sort((a, b) => a - b));
    }),
    { seed: 3 },
  );
});

test("a position can wait again after its turn", () => {
  const queue = createNodeQueue();
  queue.push(4);
  expect(queue.pop()).toBe(4);
  queue.push(4);
  expect([queue.pop(), queue.pop()]).toEqual([4, undefined]);
});
