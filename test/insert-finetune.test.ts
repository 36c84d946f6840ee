/** @file The story of examples/insert-finetune.ts, shortened: a plain net gets branches, is trained on, and is plain again. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { insertAndFinetune } from "../examples/insert-finetune.ts";

test("insert, fine-tune, fuse: unchanged, then changed by training alone, then the same function again", async () => {
  const folder = mkdtempSync(join(tmpdir(), "reparam-story-"));
  try {
    const lines: string[] = [];
    const story = await insertAndFinetune({
      folder,
      epochs: 1,
      trainingImages: 1280,
      testImages: 1000,
      log: (line) => lines.push(line),
    });
    const { plain, inserted, tuned, fused } = story;
    // 991 of the first 1000 here; the checkpoint is a file, so other processors only round otherwise.
    expect(plain.accuracy, lines.join("\n")).toBeGreaterThan(0.985);
    expect(story.insertion).toBe("EXACT-FOLD");
    expect([...inserted.predictions]).toEqual([...plain.predictions]);
    // 989 here: 20 steps at a rate of 0.02 must not undo what was learned.
    expect(tuned.accuracy).toBeGreaterThan(0.97);
    expect(story.fusion).toBe("EXACT-FOLD");
    expect([...fused.predictions]).toEqual([...tuned.predictions]);
    expect(story.change).toBe("DIFFERENT");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 240_000); // seconds alone; the machine that runs the whole suite is busy
