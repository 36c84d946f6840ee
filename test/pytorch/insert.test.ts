/**
 * @file Checkpoints with inserted blocks load into PyTorch modules of the families (`strict=True`) and compute what the
 * plain net computes. Where no Python with torch is found, one line says that nothing was run.
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memorySource } from "../../src/core/byte-source.ts";
import { readFloat64 } from "../../src/core/tensor.ts";
import { chooseStateDict, readCheckpoint } from "../../src/formats/checkpoint.ts";
import { writePytorch } from "../../src/formats/pytorch/write-pytorch.ts";
import { createFileSink } from "../../src/host/file-sink.ts";
import { insertFile } from "../../src/host/insert-file.ts";
import { BLOCK_KINDS } from "../../src/rewrite/insert/blocks.ts";
import { findPythons, runPython } from "./pythons.ts";

interface Result {
  readonly block: string;
  readonly file: string;
  readonly limit: number;
  readonly error?: number;
  readonly failure?: string;
}

const pythons = findPythons();
if (pythons.length === 0) {
  test("not run: insertion for PyTorch, because no Python with torch and numpy was found", () => {});
}

describe.each(pythons)("PyTorch $torch", (python) => {
  let folder = "";
  let results: Result[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "reparam-insert-"));
    runPython(python, "insert_check.py", ["make", folder]);
    for (const block of BLOCK_KINDS) {
      await insertFile(join(folder, "plain.pth"), join(folder, `inserted-${block}.pth`), {
        block,
        groups: "conv3=depthwise;conv4=3",
      });
    }
    await mutate(join(folder, "inserted-repvgg.pth"), join(folder, "inserted-repvgg-mutated.pth"));
    results = JSON.parse(runPython(python, "insert_check.py", ["check", folder])) as Result[];
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.each(BLOCK_KINDS)("loads inserted %s blocks and computes the same", (block) => {
    const result = results.find(({ file }) => file === `inserted-${block}.pth`)!;
    expect(result.failure).toBeUndefined();
    expect(result.error).toBeLessThanOrEqual(result.limit);
  });

  test("notices one pointwise branch that is off by 10 %", () => {
    const result = results.find(({ file }) => file.includes("mutated"))!;
    expect(result.failure).toBeUndefined();
    expect(result.error).toBeGreaterThan(result.limit);
  });
});

/** A copy with the scales of the second layer's pointwise branch times 1.1 (one channel alone may be dead behind a ReLU). */
async function mutate(from: string, to: string): Promise<void> {
  const source = memorySource(from, readFileSync(from));
  const { state } = chooseStateDict(await readCheckpoint(source));
  const named = [];
  for (const [name, tensor] of state.tensors) {
    const values = Float32Array.from(await readFloat64(tensor));
    if (name !== "conv2.rbr_1x1.bn.weight") {
      named.push({ name, tensor });
      continue;
    }
    for (const i of values.keys()) values[i]! *= 1.1;
    named.push({ name, tensor: { ...tensor, read: async () => new Uint8Array(values.buffer) } });
  }
  const sink = await createFileSink(to);
  await writePytorch(named, sink);
  await sink.close();
}
