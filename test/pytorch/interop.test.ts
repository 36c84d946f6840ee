/**
 * @file What we write, real PyTorch, safetensors, onnx and onnxruntime read; what PyTorch wrote, we read the same.
 *
 * Where no Python with torch is found (see pythons.ts), the files are still written and one line says what was not run.
 */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ownFixtures } from "./own-fixtures.ts";
import { findPythons, runPython } from "./pythons.ts";
import { type Job, writeMutated, writeOutputs } from "./write-outputs.ts";

/** One line of check.py's answer; `ok` is null where a module is missing. */
interface Result {
  readonly case: string;
  readonly check: string;
  readonly ok: boolean | null;
  readonly detail: string;
}

const fixtures = ownFixtures();
const pythons = findPythons();
const jobs: Job[] = [];
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "reparam-pytorch-"));
  if (pythons.length === 0) {
    console.log("PyTorch interop: not run, no Python with torch and numpy was found.");
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("files for PyTorch", () => {
  test("there are fixtures", () => {
    expect(fixtures.length).toBeGreaterThanOrEqual(10);
  });

  test.each(fixtures)("$record.case is written", async (fixture) => {
    const to = join(folder, fixture.record.case);
    mkdirSync(to);
    const job = await writeOutputs(fixture, to);
    expect(Object.keys(job.train)).toHaveLength(fixture.record.trainKeys);
    jobs.push(job);
  });

  test("and one with a wrong bias", async () => {
    const plain = jobs.find((job) => job.case === "repvgg")!;
    jobs.push(await writeMutated(plain, folder));
  });
});

describe.each(pythons)("PyTorch $torch", (python) => {
  let results: Result[] = [];

  beforeAll(() => {
    const path = join(folder, "jobs.json");
    writeFileSync(path, JSON.stringify(jobs));
    results = JSON.parse(runPython(python, "check.py", [path])) as Result[];
    const missing = new Set(results.filter((one) => one.ok === null).map((one) => one.detail));
    if (missing.size > 0) {
      console.log(`PyTorch ${python.torch}: not run in part: ${[...missing].join(", ")}.`);
    }
  });

  test.each(fixtures)("reads $record.case", ({ record }) => {
    const own = results.filter((one) => one.case === record.case);
    const passed = own.filter((one) => one.ok === true);
    const failed = own.filter((one) => one.ok === false);
    expect(failed.map((one) => `${one.check}: ${one.detail}`)).toEqual([]);
    // With torch alone: the training checkpoint, per form the plain load and the outputs, the fused weights.
    expect(passed.length).toBeGreaterThanOrEqual(6);
  });

  test("notices one bias of the head that is off by 1 %", () => {
    const own = results.filter((one) => one.case === "mutated" && one.ok !== null);
    const passed = own.filter((one) => one.ok).map((one) => one.check);
    expect(passed).toEqual(["train.pth reads as torch.load reads it"]);
    expect(own.length).toBeGreaterThanOrEqual(4);
  });
});
