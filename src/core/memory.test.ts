import { expect, test } from "vitest";
import { createMemory, type Memory, withMemories } from "./memory.ts";

test("pieces of one turn are apart, pieces of the next turn are the same memory", () => {
  const memory = createMemory();
  const [a, b] = [memory.take(8), memory.take(4)];
  expect([a.byteLength, b.byteLength]).toEqual([8, 4]);
  expect(a.buffer).not.toBe(b.buffer);
  memory.reset();
  expect(memory.take(3).buffer).toBe(a.buffer);
  expect(memory.take(4).buffer).toBe(b.buffer);
});

test("a larger piece replaces a smaller one", () => {
  const memory = createMemory();
  const small = memory.take(2);
  memory.reset();
  const large = memory.take(5);
  expect(large.byteLength).toBe(5);
  expect(large.buffer).not.toBe(small.buffer);
});

test("users at the same time have different memories, users one after the other the same", async () => {
  const seen: Memory[][] = [];
  const use = (): Promise<void> =>
    withMemories(async (memories) => {
      seen.push([...memories]);
      await Promise.resolve();
    });
  await Promise.all([use(), use()]);
  expect(new Set(seen.flat()).size).toBe(4);
  await use();
  // Nothing was collected meanwhile: the seen ones are still held here.
  expect(new Set(seen.flat()).size).toBe(4);
});

test("after a failure memory is not used again: a read may still be writing to it", async () => {
  let held: Memory | undefined;
  const failing = withMemories(async ([memory]) => {
    held = memory;
    throw new Error("failed");
  });
  await expect(failing).rejects.toThrow("failed");
  await withMemories(async (memories) => {
    expect(memories).not.toContain(held);
  });
});
