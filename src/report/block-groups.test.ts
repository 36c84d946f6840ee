/** @file Blocks of one stage in one line: what they have in common, and how many of them. */

import { expect, test } from "vitest";
import { type BlockFacts, groupBlocks, groupBranches, groupKernels } from "./block-groups.ts";

function block(name: string, kernel: number, group = 1): BlockFacts {
  const branches = [`${kernel}×${kernel}+bn`];
  return { name, branches, weightShape: [8, 8 / group, kernel, kernel], group, inC: 8 };
}

test("blocks that look alike are said once", () => {
  const [group] = groupBlocks([block("stage1.0", 3), block("stage1.1", 3)]);
  expect(group!.label).toBe("stage1");
  expect([groupBranches(group!), groupKernels(group!)]).toEqual(["3×3+bn", "3 × 3"]);
});

test("of different ones the most frequent, with its share", () => {
  const blocks = [block("net.0", 1), block("net.1", 3, 8), block("net.2", 1)];
  const [group] = groupBlocks(blocks);
  expect([groupBranches(group!), groupKernels(group!)]).toEqual([
    "1×1+bn (2 of 3)",
    "1 × 1 (2 of 3)",
  ]);
});

test("group counts are left out where nothing else differs", () => {
  const [group] = groupBlocks([block("stage2.0", 3), block("stage2.1", 3, 4)]);
  expect(groupKernels(group!)).toBe("3 × 3");
});
